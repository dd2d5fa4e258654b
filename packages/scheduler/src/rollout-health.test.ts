import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { crashLoopWindowMs, failsTooMuch, isCrashLoop } from './rollout-health.ts'

describe('a revision loops', () => {
  const now = 1_000_000
  test.each([
    ['with three ends within a minute', [now - 59_999, now - 30_000, now], true],
    ['but not with two', [now - 1, now], false],
    ['but not when the first one is too long ago', [now - crashLoopWindowMs, now - 1, now], false],
    ['but not when nothing has ended', [], false],
  ])('%s', (_what, ends, loops) => {
    expect(isCrashLoop(ends, now)).toBe(loops)
  })

  test('whatever the order, and one end more never makes it better', () => {
    const end = fc.integer({ min: now - 100_000, max: now })
    fc.assert(
      fc.property(fc.array(end), end, (ends, another) => {
        expect(isCrashLoop(ends.toReversed(), now)).toBe(isCrashLoop(ends, now))
        if (isCrashLoop(ends, now)) expect(isCrashLoop([...ends, another], now)).toBe(true)
      }),
    )
  })
})

describe('a revision fails too much', () => {
  const of = (failed: number, requests: number) => ({ failed, requests })
  test.each([
    ['where more than the limit fails and the one before is well', of(11, 20), of(0, 20), 50, true],
    ['but not at the limit', of(10, 20), of(0, 20), 50, false],
    ['but not with too few requests to tell', of(19, 19), of(0, 1000), 50, false],
    ['but not where nothing is known of the one before', of(20, 20), of(0, 19), 50, false],
    ['but not where the one before is hardly better', of(12, 20), of(7, 20), 50, false],
    ['where the one before fails half as much', of(12, 20), of(6, 20), 50, true],
    ['with one failure where none is allowed', of(1, 20), of(0, 20), 0, true],
  ])('%s', (_what, next, previous, max, fails) => {
    expect(failsTooMuch(next, previous, max)).toBe(fails)
  })

  test('never where it does no worse than the one before', () => {
    const answers = fc
      .nat(1000)
      .chain((requests) => fc.record({ requests: fc.constant(requests), failed: fc.nat(requests) }))
    fc.assert(
      fc.property(answers, answers, fc.nat(99), (next, previous, max) => {
        if (next.failed * previous.requests > previous.failed * next.requests) return
        expect(failsTooMuch(next, previous, max)).toBe(false)
      }),
    )
  })
})
