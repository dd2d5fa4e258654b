import { expect, test } from 'vitest'
import { seededRandom } from '../../support/random.ts'
import { poisson } from '../load/schedule.ts'
import { mean } from '../statistics.ts'
import { waitsOfCentralQueue } from './central-queue.ts'

test('a request waits until the first server is free', () => {
  expect([...waitsOfCentralQueue(Float64Array.from([0, 1, 2, 3, 30]), 2, 10)]).toEqual([0, 0, 8, 8, 0])
})

test('the mean wait of one server is that of the formula of Pollaczek and Khinchine', () => {
  const load = 0.8
  const serviceMs = 10
  const schedule = poisson((load * 1000) / serviceMs, 100_000, seededRandom(1, 'queue'))
  const expected = (load * serviceMs) / (2 * (1 - load))
  const waited = mean(waitsOfCentralQueue(schedule, 1, serviceMs))
  expect(waited / expected).toBeGreaterThan(0.94)
  expect(waited / expected).toBeLessThan(1.06)
})
