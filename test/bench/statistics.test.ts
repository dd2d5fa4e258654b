import { expect, test } from 'vitest'
import { median, percentile } from './statistics.ts'

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
