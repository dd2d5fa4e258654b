import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { decideRollout, divideLatest, type RolloutPlan, type RolloutState } from './rollout.ts'

const gradual: RolloutPlan = { strategy: 'gradual', steps: [1, 10, 50], intervalMs: 30_000 }
const manual: RolloutPlan = { ...gradual, strategy: 'manual' }
const immediate: RolloutPlan = { ...gradual, strategy: 'immediate' }
const state = (change: Partial<RolloutState> = {}): RolloutState => ({
  percent: 0,
  acknowledgedAtMs: null,
  paused: false,
  promoteFrom: null,
  promoteTo: null,
  ...change,
})

describe('a rollout', () => {
  test.each([
    ['immediate begins with everything', immediate, {}, { kind: 'shift', percent: 100 }],
    ['gradual begins with its first step', gradual, {}, { kind: 'shift', percent: 1 }],
    ['manual waits to be told', manual, {}, { kind: 'told' }],
    ['paused before its first step has none', gradual, { paused: true }, { kind: 'paused' }],
    ['waits for the routers after a step', gradual, { percent: 10 }, { kind: 'acknowledge' }],
    [
      'waits for its interval from the acknowledgement on',
      gradual,
      { percent: 10, acknowledgedAtMs: 75_000 },
      { kind: 'interval', nextPercent: 50, untilMs: 105_000 },
    ],
    [
      'takes the next step when the interval is over',
      gradual,
      { percent: 10, acknowledgedAtMs: 70_000 },
      { kind: 'shift', percent: 50 },
    ],
    [
      'ends with everything although no step says so',
      gradual,
      { percent: 50, acknowledgedAtMs: 0 },
      { kind: 'shift', percent: 100 },
    ],
    [
      'stays where it was paused',
      gradual,
      { percent: 10, acknowledgedAtMs: 0, paused: true },
      { kind: 'paused' },
    ],
    [
      'does what it is told although it is paused and the interval runs',
      gradual,
      { percent: 10, acknowledgedAtMs: 99_999, paused: true, promoteTo: 25 },
      { kind: 'shift', percent: 25 },
    ],
    [
      'waits for the routers even when it is told to go on',
      gradual,
      { percent: 10, promoteTo: 100 },
      { kind: 'acknowledge' },
    ],
    [
      'never goes back',
      gradual,
      { percent: 50, acknowledgedAtMs: 99_000, promoteTo: 10 },
      { kind: 'interval' },
    ],
    [
      'takes the next step when it is told to leave the one it is at',
      gradual,
      { percent: 10, acknowledgedAtMs: 99_999, paused: true, promoteFrom: 10 },
      { kind: 'shift', percent: 50 },
    ],
    [
      'takes one step when it is told twice to leave the same one',
      gradual,
      { percent: 50, acknowledgedAtMs: 99_999, promoteFrom: 10 },
      { kind: 'interval' },
    ],
    [
      'manual goes straight on when it is told to',
      manual,
      { promoteFrom: 0 },
      { kind: 'shift', percent: 100 },
    ],
    ['manual goes where it is told', manual, { promoteTo: 20 }, { kind: 'shift', percent: 20 }],
    [
      'manual waits again after that',
      manual,
      { percent: 20, acknowledgedAtMs: 0, promoteTo: 20 },
      { kind: 'told' },
    ],
    [
      'is done once everything is acknowledged',
      manual,
      { percent: 100, acknowledgedAtMs: 1 },
      { kind: 'done' },
    ],
    [
      'that was made immediate on its way moves the rest at once',
      immediate,
      { percent: 10, acknowledgedAtMs: 99_999 },
      { kind: 'shift', percent: 100 },
    ],
  ] as const)('%s', (_what, plan, change, decision) => {
    expect(decideRollout(plan, state(change), 100_000)).toMatchObject(decision)
  })

  const steps = fc.uniqueArray(fc.integer({ min: 1, max: 100 }), { minLength: 1, maxLength: 8 })

  test('rises step by step to everything, each one no higher than the list says', () => {
    fc.assert(
      fc.property(steps, (list) => {
        const plan = { ...gradual, steps: list.toSorted((a, b) => a - b) }
        const taken: number[] = []
        for (let percent = 0, now = 0; percent < 100; now += plan.intervalMs) {
          const decision = decideRollout(
            plan,
            state({ percent, acknowledgedAtMs: percent > 0 ? now - 30_000 : null }),
            now,
          )
          if (decision.kind !== 'shift') throw new Error(`${decision.kind} at ${percent}`)
          expect(decision.percent).toBeGreaterThan(percent)
          taken.push((percent = decision.percent))
        }
        expect(taken).toEqual([...new Set([...plan.steps, 100])])
      }),
    )
  })

  test('never shifts before the interval after the acknowledgement is over, unless it is told to', () => {
    fc.assert(
      fc.property(steps, fc.integer({ min: 1, max: 99 }), fc.nat(60_000), (list, percent, now) => {
        const plan = { ...gradual, steps: list.toSorted((a, b) => a - b) }
        const { kind } = decideRollout(plan, state({ percent, acknowledgedAtMs: 0 }), now)
        expect(kind === 'shift').toBe(now >= plan.intervalMs)
      }),
    )
  })
})

describe('the traffic of latest', () => {
  const between = { previous: 'old', next: 'new' }
  const target = (revision: string, percent: number, tag: string | null = null) => ({
    revision,
    percent,
    tag,
  })

  test.each([
    ['all of it', [target('latest', 100)], 1, [target('old', 99), target('new', 1)]],
    ['nothing yet', [target('latest', 100)], 0, [target('old', 100)]],
    [
      'a part, rounded down',
      [target('latest', 90), target('pin', 10)],
      25,
      [target('old', 68), target('new', 22), target('pin', 10)],
    ],
    [
      'its tag goes along',
      [target('latest', 100, 'next')],
      0,
      [target('old', 100), target('new', 0, 'next')],
    ],
    ['in the end', [target('latest', 100, 'next')], 100, [target('new', 100, 'next')]],
    [
      'a pin on the new one',
      [target('new', 30), target('latest', 70)],
      100,
      [target('new', 30), target('new', 70)],
    ],
  ])('%s', (_what, shares, percent, divided) => {
    expect(divideLatest(shares, { ...between, percent })).toEqual(divided)
  })

  const shares = fc
    .array(
      fc.tuple(fc.constantFrom('latest', 'pin', 'other'), fc.nat(100), fc.option(fc.constantFrom('a', 'b'))),
      {
        minLength: 1,
        maxLength: 5,
      },
    )
    .map((list) => list.map(([revision, percent, tag]) => target(revision, percent, tag)))
  const sum = (list: readonly { revision: string; percent: number }[], of?: string) =>
    list
      .filter(({ revision }) => of === undefined || revision === of)
      .reduce((total, { percent }) => total + percent, 0)
  const step = fc.nat(100)

  test('is kept whole, beside pins that never change', () => {
    fc.assert(
      fc.property(shares, step, (list, percent) => {
        const divided = divideLatest(list, { ...between, percent })
        expect(sum(divided)).toBe(sum(list))
        const pins = (all: typeof list) =>
          all.filter(({ revision }) => revision === 'pin' || revision === 'other')
        expect(pins(divided)).toEqual(pins(list))
        expect(divided.flatMap(({ tag }) => tag ?? [])).toEqual(list.flatMap(({ tag }) => tag ?? []))
      }),
    )
  })

  test('rises with the step and is never above it', () => {
    fc.assert(
      fc.property(shares, step, step, (list, a, b) => {
        const at = (percent: number) => sum(divideLatest(list, { ...between, percent }), 'new')
        expect(at(Math.min(a, b))).toBeLessThanOrEqual(at(Math.max(a, b)))
        expect(at(a) * 100).toBeLessThanOrEqual(sum(list, 'latest') * a)
      }),
    )
  })
})
