import { describe, expect, test } from 'vitest'
import { seededRandom } from '../support/random.ts'
import { bootstrapInterval, type Interval, mean, median, percentile } from './statistics.ts'

test('the median is the middle value, or between the two middle ones', () => {
  expect(median([9, 1, 5])).toBe(5)
  expect(median([9, 1, 5, 7])).toBe(6)
})

test('a percentile lies between its neighbours, and 0 and 100 are the ends', () => {
  const values = Float64Array.from([50, 10, 30, 20, 40])
  expect(percentile(values, 0)).toBe(10)
  expect(percentile(values, 100)).toBe(50)
  expect(percentile(values, 90)).toBeCloseTo(46)
})

test('values stay in their order', () => {
  const values = [3, 1, 2]
  percentile(values, 50)
  expect(values).toEqual([3, 1, 2])
})

test('nothing has no median', () => {
  expect(median([])).toBeNaN()
})

describe('the interval of a mean by drawing blocks', () => {
  const random = seededRandom(1, 'bootstrap')
  const intervalOfMean = (values: Float64Array, blockLength: number) =>
    bootstrapInterval({ length: values.length, blockLength, random }, (places) => mean(pick(values, places)))
  const pick = (values: Float64Array, places: Uint32Array) =>
    Float64Array.from(places, (place) => values[place] ?? Number.NaN)
  const width = ({ low, high }: Interval) => high - low

  test('is about four standard errors wide for values that know nothing of each other', () => {
    const values = Float64Array.from({ length: 4000 }, () => random.fraction())
    const interval = intervalOfMean(values, 1)
    const standardError = Math.sqrt(1 / 12 / values.length)
    expect(width(interval) / standardError).toBeGreaterThan(3.2)
    expect(width(interval) / standardError).toBeLessThan(4.8)
    expect(interval.low).toBeLessThan(mean(values))
    expect(interval.high).toBeGreaterThan(mean(values))
  })

  test('is wider where neighbours are alike, which single draws do not see', () => {
    const alike = Float64Array.from({ length: 4000 }, () => 0)
    for (let start = 0; start < alike.length; start += 100) alike.fill(random.fraction(), start, start + 100)
    expect(width(intervalOfMean(alike, 100))).toBeGreaterThan(5 * width(intervalOfMean(alike, 1)))
  })
})
