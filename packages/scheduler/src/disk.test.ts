import { describe, expect, test } from 'vitest'
import { collectableImages, freeRatio, isRelieved, needsCollection, type HeldImage } from './disk.ts'

const diskWithFree = (percent: number) => ({ totalBytes: 1000, freeBytes: percent * 10 })
const minutes = (count: number) => count * 60_000

function anImage(id: string, change: Partial<HeldImage> = {}): HeldImage {
  return { id, unusedMs: minutes(60), retained: false, inUse: false, ...change }
}

const order = (...images: HeldImage[]) => collectableImages(images).map(({ id }) => id)

describe('a disk', () => {
  test.each([
    [100, false, true],
    [20, false, true],
    [19, false, false],
    [15.1, false, false],
    [15, true, false],
    [0, true, false],
  ])('with %d %% free: full enough to collect %s, free enough to stop %s', (free, full, relieved) => {
    expect(needsCollection(diskWithFree(free))).toBe(full)
    expect(isRelieved(diskWithFree(free))).toBe(relieved)
  })

  test('of no size has nothing free', () => {
    expect(freeRatio({ totalBytes: 0, freeBytes: 0 })).toBe(0)
  })
})

describe('images go', () => {
  test('the least recently used first', () => {
    expect(
      order(
        anImage('young', { unusedMs: minutes(20) }),
        anImage('old', { unusedMs: minutes(90) }),
        anImage('middle', { unusedMs: minutes(40) }),
      ),
    ).toEqual(['old', 'middle', 'young'])
  })

  test('never while a revision names them, however long nothing was started from them', () => {
    expect(order(anImage('retained', { unusedMs: minutes(90), retained: true }), anImage('nobody'))).toEqual([
      'nobody',
    ])
  })

  test('never while they are in use, or were brought in the last ten minutes', () => {
    expect(order(anImage('used', { inUse: true }), anImage('fresh', { unusedMs: minutes(10) - 1 }))).toEqual(
      [],
    )
    expect(order(anImage('left', { unusedMs: minutes(10) }))).toEqual(['left'])
  })
})
