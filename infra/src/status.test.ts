import { expect, test } from 'vitest'
import { table } from './status.ts'

test('a process that is away says why', () => {
  const startedAt = '2026-01-01T00:00:00.000Z'
  const lines = table(
    [
      { name: 'api', state: 'ready', pid: 7, restarts: 0, startedAt, lastProblem: null },
      {
        name: 'worker',
        state: 'backing-off',
        pid: null,
        restarts: 3,
        startedAt: null,
        lastProblem: 'ended with exit code 1',
      },
    ],
    Date.parse(startedAt) + 90_000,
  )
  expect(lines[0]).toMatch(/^ {2}api +ready +pid 7 +90 s$/)
  expect(lines[1]).toMatch(/^ {2}worker +backing-off +- +- {2}3 restarts {2}\(ended with exit code 1\)$/)
})
