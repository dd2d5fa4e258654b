import type { ReplicaId } from '@berth/contracts'
import { describe, expect, test } from 'vitest'
import { createStepDown } from './step-down.ts'
import { aReplica, aService } from './testing/picture.ts'
import type { ReplicaView } from './world-model.ts'

const idle = { freezeAfterSeconds: 30, parkAfterSeconds: 60, coldAfterSeconds: 90 }
const service = aService({ idle })
const running = (id: string): ReplicaView => aReplica({ id: id as ReplicaId })
const below = (id: string, rung: 'frozen' | 'parked'): ReplicaView =>
  aReplica({ id: id as ReplicaId, rung, serving: false })

function setUp() {
  const clock = { ms: 1_000_000 }
  const signals = { complete: true }
  const idleMs = new Map<string, number>()
  const busy = new Set<string>()
  const steps: [id: string, to: string][] = []
  const stepDown = createStepDown({
    keeper: {
      busyWith: (id) => busy.has(id),
      stepDown(id, to) {
        steps.push([id, to])
        return Promise.resolve('done')
      },
    },
    reports: { replicaIdleMs: (id) => idleMs.get(id) ?? 0 },
    complete: () => signals.complete,
    now: () => clock.ms,
  })
  return { clock, signals, idleMs, busy, steps, stepDown }
}

describe('the ladder', () => {
  test('freezes what has been idle for long enough, and nothing else', () => {
    const { idleMs, steps, stepDown } = setUp()
    idleMs.set('due', 30_000).set('early', 29_999)
    stepDown.ladder(service, [running('due'), running('early'), running('busy')], 0)
    expect(steps).toEqual([['due', 'frozen']])
  })

  test('counts on from the last request while nobody reports the replica any more', () => {
    const { clock, idleMs, steps, stepDown } = setUp()
    idleMs.set('a', 30_000)
    stepDown.ladder(service, [running('a')], 0)
    clock.ms += 29_000
    stepDown.ladder(service, [below('a', 'frozen')], 0)
    expect(steps).toEqual([['a', 'frozen']])
    clock.ms += 1000
    stepDown.ladder(service, [below('a', 'frozen')], 0)
    clock.ms += 30_000
    stepDown.ladder(service, [below('a', 'parked')], 0)
    expect(steps.slice(1)).toEqual([
      ['a', 'parked'],
      ['a', 'cold'],
    ])
  })

  test('takes a replica down that is not ready, whatever nobody reports of it, but none for it', () => {
    const { clock, steps, stepDown } = setUp()
    const unready = aReplica({ id: 'u' as ReplicaId, reason: 'ProbeFailed' })
    stepDown.ladder(service, [unready, running('a')], 1)
    clock.ms += 30_000
    stepDown.ladder(service, [unready, running('a')], 1)
    expect(steps).toEqual([])
    stepDown.ladder(service, [unready, running('a')], 0)
    expect(steps).toEqual([['u', 'frozen']])
  })

  test('counts from its own start where it does not know the last request', () => {
    const { clock, steps, stepDown } = setUp()
    stepDown.ladder(service, [below('a', 'frozen')], 0)
    clock.ms += 59_999
    stepDown.ladder(service, [below('a', 'frozen')], 0)
    expect(steps).toEqual([])
    clock.ms += 1
    stepDown.ladder(service, [below('a', 'frozen')], 0)
    expect(steps).toEqual([['a', 'parked']])
  })

  test('leaves as many running as are always wanted', () => {
    const { idleMs, steps, stepDown } = setUp()
    for (const id of ['a', 'b', 'c']) idleMs.set(id, 60_000)
    stepDown.ladder(service, ['a', 'b', 'c'].map(running), 2)
    expect(steps).toEqual([['a', 'frozen']])
  })

  test('takes nothing down while a report, Redis or Postgres is missing', () => {
    const { idleMs, signals, steps, stepDown } = setUp()
    idleMs.set('a', 60_000)
    signals.complete = false
    stepDown.ladder(service, [running('a'), below('b', 'parked')], 0)
    expect(steps).toEqual([])
  })

  test('passes over what is being done something to, or is on its way out of the routes', () => {
    const { idleMs, busy, steps, stepDown } = setUp()
    idleMs.set('busy', 60_000).set('leaving', 60_000).set('starting', 60_000)
    busy.add('busy')
    const leaving = { ...running('leaving'), serving: false }
    stepDown.ladder(service, [running('busy'), leaving, { ...running('starting'), state: 'starting' }], 0)
    expect(steps).toEqual([])
  })
})

describe('a surplus replica', () => {
  test.each([
    [idle, 'frozen'],
    [{ ...idle, freezeAfterSeconds: 'never' as const }, 'parked'],
    [{ ...idle, freezeAfterSeconds: 'never' as const, parkAfterSeconds: 'never' as const }, 'cold'],
  ])('goes to the next rung that its service has: %j', (settings, to) => {
    const { steps, stepDown } = setUp()
    stepDown.surplus(aService({ idle: settings }), running('a'))
    expect(steps).toEqual([['a', to]])
  })

  test('stays where the service has no lower rung', () => {
    const { steps, stepDown } = setUp()
    const never = {
      freezeAfterSeconds: 'never',
      parkAfterSeconds: 'never',
      coldAfterSeconds: 'never',
    } as const
    stepDown.surplus(aService({ idle: never }), running('a'))
    expect(steps).toEqual([])
  })
})

test('a replica that is gone is forgotten: one of the same id would begin anew', () => {
  const { clock, idleMs, steps, stepDown } = setUp()
  idleMs.set('a', 29_000)
  stepDown.ladder(service, [running('a')], 0)
  stepDown.forget(() => false)
  clock.ms += 59_000
  stepDown.ladder(service, [below('a', 'frozen')], 0)
  expect(steps).toEqual([])
})
