import fc from 'fast-check'
import { expect, test } from 'vitest'
import { seeded, statisticalError } from '../testing/seeded.ts'
import { pickByWeight } from './weighted-pick.ts'

test('shares hold over 10,000 draws within the statistical error', () => {
  const targets = [
    { name: 'a', percent: 90 },
    { name: 'b', percent: 9 },
    { name: 'c', percent: 1 },
    { name: 'd', percent: 0 },
  ]
  const random = seeded(42)
  const counts = new Map<string, number>()
  const draws = 10_000
  for (let i = 0; i < draws; i += 1) {
    const name = pickByWeight(targets, random())?.name ?? ''
    counts.set(name, (counts.get(name) ?? 0) + 1)
  }
  for (const { name, percent } of targets) {
    const strays = Math.abs((counts.get(name) ?? 0) - (draws * percent) / 100)
    expect(strays).toBeLessThanOrEqual(statisticalError(draws, percent / 100))
  }
})

test('something with a weight is always picked, something without never', () => {
  const weights = fc.array(fc.integer({ min: 0, max: 100 }), { maxLength: 8 })
  const property = fc.property(
    weights,
    fc.double({ min: 0, max: 0.999_999_999, noNaN: true }),
    (all, random) => {
      const picked = pickByWeight(
        all.map((percent) => ({ percent })),
        random,
      )
      expect(picked === undefined).toBe(all.every((percent) => percent === 0))
      expect(picked?.percent).not.toBe(0)
    },
  )
  fc.assert(property)
})
