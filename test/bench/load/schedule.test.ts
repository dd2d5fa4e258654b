import { expect, test } from 'vitest'
import { seededRandom } from '../../support/random.ts'
import { poisson, steady } from './schedule.ts'

test('a steady schedule has equal distances', () => {
  expect([...steady(2000, 0.002)]).toEqual([0, 0.5, 1, 1.5])
})

test('Poisson arrivals ascend, with the rate as mean and with gaps that stray as much as their mean', () => {
  const count = 100_000
  const schedule = poisson(400, count, seededRandom(1, 'test'))
  const gaps = schedule.map((at, index) => at - (schedule[index - 1] ?? 0))
  const mean = (schedule.at(-1) ?? 0) / count
  const deviation = Math.sqrt(gaps.reduce((sum, gap) => sum + (gap - mean) ** 2, 0) / count)
  expect(Math.min(...gaps)).toBeGreaterThanOrEqual(0)
  expect(mean).toBeCloseTo(2.5, 1)
  expect(deviation).toBeCloseTo(2.5, 1)
})

test('the same seed gives the same arrivals, another seed others', () => {
  const arrivals = (seed: number) => poisson(400, 100, seededRandom(seed, 'test'))
  expect(arrivals(1)).toEqual(arrivals(1))
  expect(arrivals(2)).not.toEqual(arrivals(1))
})
