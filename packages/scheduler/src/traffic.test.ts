import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { shareMinScale, shareTraffic, type TrafficShare } from './traffic.ts'

const percent = fc.nat(100)
const shares = fc.tuple(percent, percent, percent).map(([a, b, c]): TrafficShare[] => [
  { revision: 'a', percent: a },
  { revision: 'b', percent: b },
  { revision: 'c', percent: c },
])

describe('traffic', () => {
  const split = [
    { revision: 'none', percent: 0 },
    { revision: 'old', percent: 90 },
    { revision: 'new', percent: 10 },
  ]

  test.each([
    [0, 'old'],
    [0.89, 'old'],
    [0.9, 'new'],
    [0.999999, 'new'],
  ])('at %d falls to %s', (random, revision) => {
    expect(shareTraffic(split, random)?.revision).toBe(revision)
  })

  test('falls to nobody when nobody takes any', () => {
    expect(shareTraffic([{ percent: 0 }], 0)).toBeUndefined()
    expect(shareTraffic([], 0.5)).toBeUndefined()
  })

  test('is split exactly by weight', () => {
    fc.assert(
      fc.property(shares, (shares) => {
        const total = shares.reduce((sum, { percent }) => sum + percent, 0)
        const hits = new Map(shares.map(({ revision }) => [revision, 0]))
        for (let step = 0; step < total; step += 1) {
          const revision = shareTraffic(shares, (step + 0.5) / total)?.revision ?? 'nobody'
          hits.set(revision, (hits.get(revision) ?? 0) + 1)
        }
        expect(hits).toEqual(new Map(shares.map(({ revision, percent }) => [revision, percent])))
      }),
    )
  })
})

describe('minScale', () => {
  test.each<[number, number[], number[]]>([
    [0, [100], [0]],
    [3, [100, 0], [3, 0]],
    [3, [80, 20], [2, 1]],
    [4, [50, 50], [2, 2]],
    [1, [50, 50], [1, 0]],
    [10, [90, 10], [9, 1]],
    [2, [20, 60], [0, 2]],
    [5, [0, 0], [0, 0]],
  ])('%d over %j is %j', (minScale, percents, parts) => {
    const traffic = percents.map((percent, index) => ({ revision: `r${index}`, percent }))
    expect([...shareMinScale(minScale, traffic).values()]).toEqual(parts)
  })

  test('goes to the smaller name between equals', () => {
    const traffic = ['b', 'a', 'c'].map((revision) => ({ revision, percent: 33 }))
    expect(shareMinScale(1, traffic).get('a')).toBe(1)
  })

  test('counts a revision that is named twice once', () => {
    const traffic = [
      { revision: 'a', percent: 30 },
      { revision: 'b', percent: 40 },
      { revision: 'a', percent: 30 },
    ]
    expect(shareMinScale(5, traffic)).toEqual(
      new Map([
        ['a', 3],
        ['b', 2],
      ]),
    )
  })

  test('is shared out whole, with none for a revision without traffic', () => {
    fc.assert(
      fc.property(shares, fc.nat(60), (shares, minScale) => {
        const parts = shareMinScale(minScale, shares)
        const open = shares.some(({ percent }) => percent > 0)
        expect([...parts.values()].reduce((sum, part) => sum + part, 0)).toBe(open ? minScale : 0)
        for (const { revision, percent } of shares) if (percent === 0) expect(parts.get(revision)).toBe(0)
      }),
    )
  })

  test('does not depend on the order, and one more takes nothing from anyone', () => {
    fc.assert(
      fc.property(shares, fc.nat(60), (shares, minScale) => {
        const parts = shareMinScale(minScale, shares)
        const reversed = shareMinScale(minScale, shares.toReversed())
        const more = shareMinScale(minScale + 1, shares)
        for (const [revision, part] of parts) {
          expect(reversed.get(revision)).toBe(part)
          expect(more.get(revision)).toBeGreaterThanOrEqual(part)
        }
      }),
    )
  })
})
