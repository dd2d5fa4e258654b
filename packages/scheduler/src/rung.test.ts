import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { decideRung, type IdleReplica, type IdleTimes } from './rung.ts'

const idle: IdleTimes = { freezeAfterSeconds: 30, parkAfterSeconds: 900, coldAfterSeconds: 86_400 }

function decide(idleSeconds: number, changes: Partial<IdleReplica> = {}, times: Partial<IdleTimes> = {}) {
  const replica: IdleReplica = {
    rung: 'running',
    inFlight: 0,
    lastRequestAt: 5000,
    running: 1,
    minScale: 0,
    signalsComplete: true,
    ...changes,
  }
  return decideRung(replica, { ...idle, ...times }, 5000 + idleSeconds * 1000)
}

describe('an idle replica', () => {
  test.each<[IdleReplica['rung'], number, string]>([
    ['running', 30, 'frozen'],
    ['frozen', 900, 'parked'],
    ['parked', 86_400, 'cold'],
  ])('that is %s for %d s becomes %s, and not a moment before', (rung, seconds, to) => {
    expect(decide(seconds, { rung })).toEqual({ kind: 'step', to, idleMs: seconds * 1000 })
    expect(decide(seconds - 0.001, { rung })).toEqual({
      kind: 'stay',
      reason: 'notDue',
      dueAt: 5000 + seconds * 1000,
    })
  })

  test('takes one rung at a time, however late it is looked at', () => {
    expect(decide(1e6)).toMatchObject({ to: 'frozen' })
  })

  test('skips a rung that is switched off', () => {
    expect(decide(900, {}, { freezeAfterSeconds: 'never' })).toMatchObject({ to: 'parked' })
    expect(decide(86_400, { rung: 'frozen' }, { parkAfterSeconds: 'never' })).toMatchObject({ to: 'cold' })
  })

  test('stays for good when every lower rung is switched off', () => {
    const stay = { kind: 'stay', reason: 'never', dueAt: null }
    expect(decide(1e9, { rung: 'parked' }, { coldAfterSeconds: 'never' })).toEqual(stay)
  })

  test('stays while it is among the last of minScale', () => {
    expect(decide(60, { running: 2, minScale: 2 })).toMatchObject({ kind: 'stay', reason: 'minScale' })
    expect(decide(60, { running: 3, minScale: 2 })).toMatchObject({ kind: 'step' })
    expect(decide(1e4, { rung: 'frozen', running: 2, minScale: 2 })).toMatchObject({ to: 'parked' })
  })
})

test.each<[string, Partial<IdleReplica>, string]>([
  ['with a request inside', { inFlight: 1 }, 'busy'],
  ['with signals missing', { signalsComplete: false }, 'signalsMissing'],
  ['that no router reported', { inFlight: undefined }, 'signalsMissing'],
  ['of unknown last request', { lastRequestAt: undefined }, 'signalsMissing'],
])('a replica %s stays', (_name, changes, reason) => {
  expect(decide(1e9, changes)).toMatchObject({ kind: 'stay', reason })
})

test('waiting longer never calls a step off', () => {
  const seconds = fc.oneof(fc.constant<'never'>('never'), fc.integer({ min: 1, max: 1000 }))
  const times = fc.record({
    freezeAfterSeconds: seconds,
    parkAfterSeconds: seconds,
    coldAfterSeconds: seconds,
  })
  const rung = fc.constantFrom('running', 'frozen', 'parked')
  fc.assert(
    fc.property(times, rung, fc.nat(2000), fc.nat(2000), (times, rung, waited, more) => {
      const first = decide(waited, { rung }, times)
      if (first.kind !== 'step') return
      expect(decide(waited + more, { rung }, times)).toMatchObject({ kind: 'step', to: first.to })
    }),
  )
})
