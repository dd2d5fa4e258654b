import { expect, test } from 'vitest'
import { countDeaths, restartDelayMs } from './restart-delay.ts'

test('the delay doubles from 0.2 s and ends at 5 s', () => {
  expect([1, 2, 3, 4, 5, 6, 7, 1000].map(restartDelayMs)).toEqual([
    200, 400, 800, 1600, 3200, 5000, 5000, 5000,
  ])
})

test('a process that ran for half a minute starts afresh', () => {
  expect(countDeaths(6, 29_999)).toBe(7)
  expect(countDeaths(6, 30_000)).toBe(1)
})
