import { expect, test } from 'vitest'
import { queueDeadlineMs, restartBackoffMs, waitLeftMs } from './backoff.ts'

test.each([
  [0, 0, 1000],
  [1, 0, 1000],
  [2, 0, 2000],
  [3, 0, 4000],
  [6, 0, 32_000],
  [7, 0, 60_000],
  [1e9, 0, 60_000],
  [7, 599_999, 60_000],
  [7, 600_000, 1000],
])('restart %d after %d ms of health waits %d ms', (attempt, healthyMs, wait) => {
  expect(restartBackoffMs(attempt, healthyMs)).toBe(wait)
})

test.each([
  [0, 300_000, 10_000],
  [2000, 300_000, 10_000],
  [4000, 300_000, 14_000],
  [200_000, 300_000, 300_000],
  [100, 1000, 1000],
])(
  'with starts of %d ms and a timeout of %d ms a request waits %d ms',
  (meanStartMs, timeoutMs, deadline) => {
    expect(queueDeadlineMs({ meanStartMs, timeoutMs })).toBe(deadline)
  },
)

test('what is left of a wait is between nothing and all of it, whatever the clocks say', () => {
  expect(waitLeftMs(4000, 10_000, 11_000)).toBe(3000)
  expect(waitLeftMs(4000, 10_000, 20_000)).toBe(0)
  expect(waitLeftMs(4000, 10_000, 0)).toBe(4000)
})
