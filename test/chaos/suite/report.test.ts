import { expect, test } from 'vitest'
import type { Finding, Target } from './fault.ts'
import { Book } from './prober/book.ts'
import { reportFault, summarise } from './report.ts'
import type { FaultResult } from './suite.ts'
import { judge } from './verdict.ts'

const target: Target = { requests: { kind: 'none' }, detectSeconds: 6, healSeconds: 15, state: 'all is kept' }

function resultOf(finding: Partial<Finding>, failures: number): FaultResult {
  const book = new Book(() => 12_000)
  for (let sent = 0; sent < 10; sent += 1) {
    const entry = book.enter('keep-alive', 11_000)
    if (sent < failures) entry.fail('ECONNRESET')
    else entry.succeed('a')
  }
  const tally = book.peek()
  const found = { injectedAt: 10_000, problems: [], ...finding }
  return { name: 'node gone', target, tally, finding: found, verdict: judge(target, tally, found) }
}

test('a fault that was held is one line with its figures and the target beside them', () => {
  const lines = reportFault(resultOf({ detectMs: 4200, healMs: 9000 }, 0)).split('\n')
  expect(lines).toHaveLength(1)
  expect(lines[0]).toMatch(
    /^node gone +10 +0 +0 ms +4\.2 s +9\.0 s {2}0 failed, detect 6 s, heal 15 s, all is kept: held$/,
  )
})

test('failures are shown with when they were sent and failed, and no more than a few', () => {
  const text = reportFault(resultOf({}, 7))
  expect(text).toContain(': MISSED\n    missed: 7 of 10 requests failed\n')
  expect(text).toContain('keep-alive, sent +1.00 s, failed +2.00 s: ECONNRESET')
  expect(text).toContain('and 2 more')
})

test('only what was missed decides the exit code', () => {
  const late = resultOf({ healMs: 99_000 }, 0)
  expect(reportFault(late)).toContain(': late\n    late: healed after 99.0 s instead of 15 s')
  expect(summarise([late], 5)).toEqual({
    line: '1 held, 0 missed; 10 requests, 0 failed; seed 5',
    exitCode: 0,
  })
  expect(summarise([late, resultOf({ problems: ['one is lost'] }, 0)], 5).exitCode).toBe(1)
})
