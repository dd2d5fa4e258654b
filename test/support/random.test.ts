import fc from 'fast-check'
import { expect, test } from 'vitest'
import { seededRandom } from './random.ts'

test('the same seed and purpose draw the same, another purpose something else', () => {
  const draw = (seed: number, purpose: string) => {
    const random = seededRandom(seed, purpose)
    return Array.from({ length: 20 }, () => random.between(0, 1_000_000))
  }
  expect(draw(7, 'worker killed')).toEqual(draw(7, 'worker killed'))
  expect(draw(7, 'worker killed')).not.toEqual(draw(7, 'api killed'))
  expect(draw(7, 'worker killed')).not.toEqual(draw(8, 'worker killed'))
})

test('numbers stay within their bounds, and a shuffle keeps what it was given', () => {
  const property = fc.property(fc.integer(), fc.array(fc.integer()), fc.nat(1000), (seed, items, most) => {
    const random = seededRandom(seed, 'property')
    const number = random.between(3, 3 + most)
    expect(number).toBeGreaterThanOrEqual(3)
    expect(number).toBeLessThanOrEqual(3 + most)
    const inOrder = (numbers: readonly number[]) => numbers.toSorted((a, b) => a - b)
    expect(inOrder(random.shuffle(items))).toEqual(inOrder(items))
  })
  fc.assert(property)
})
