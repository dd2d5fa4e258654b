import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { decideScale, surgeScale, targetConcurrency, type ScaleDecision, type ScaleState } from './scale.ts'
import { aScaleState, scaleNow, steadyWindow } from './testing/builders.ts'

const none = { starting: 0, running: 0, frozen: 0, parked: 0 }

function decide(changes: Partial<ScaleState>): ScaleDecision {
  return decideScale(aScaleState(changes), scaleNow)
}

test.each([
  [0, 100],
  [1, 1],
  [3, 3],
  [4, 2.8],
  [80, 56],
  [70, 49],
])('concurrency %d has the target %d', (concurrency, target) => {
  expect(targetConcurrency(concurrency)).toBe(target)
})

describe('scaling out', () => {
  test.each<[string, Partial<ScaleState>, Partial<ScaleDecision>]>([
    ['nothing to do at rest', {}, { wanted: 0, create: 0, surplus: 0, reason: 'steady' }],
    ['one request wakes one replica', { queued: 1 }, { wanted: 1, create: 1, reason: 'wake' }],
    ['one request wakes one of no limit', { concurrency: 0, queued: 1 }, { wanted: 1, create: 1 }],
    [
      'at the target nothing starts',
      { inFlight: 56, replicas: { ...none, running: 1 } },
      { wanted: 1, create: 0 },
    ],
    [
      'crossing the target starts one',
      { inFlight: 57, replicas: { ...none, running: 1 } },
      { wanted: 2, create: 1, reason: 'demand' },
    ],
    [
      'what is starting counts',
      { inFlight: 100, queued: 50, replicas: { ...none, running: 1, starting: 1 } },
      { wanted: 3, create: 1 },
    ],
    [
      'an exact multiple of a target without binary form asks for no replica more',
      { concurrency: 4, queued: 42 },
      { wanted: 15, create: 15 },
    ],
    [
      'a hundred requests one at a time stop at maxScale',
      { concurrency: 1, maxScale: 10, queued: 100 },
      { wanted: 10, create: 10, reason: 'maxScale' },
    ],
    [
      'frozen come before parked before new',
      { concurrency: 1, queued: 6, replicas: { ...none, frozen: 2, parked: 3 } },
      { wanted: 6, unfreeze: 2, startParked: 3, create: 1, reason: 'wake' },
    ],
    ['minScale is there without traffic', { minScale: 2 }, { wanted: 2, create: 2, reason: 'minScale' }],
    [
      'minScale is filled up below the demand of what runs',
      { minScale: 3, inFlight: 1, replicas: { ...none, running: 1 } },
      { wanted: 3, create: 2, reason: 'minScale' },
    ],
    [
      'missing signals never stop a wake',
      { queued: 1, signalsComplete: false },
      { create: 1, reason: 'wake' },
    ],
  ])('%s', (_name, changes, decision) => {
    expect(decide(changes)).toMatchObject(decision)
  })
})

describe('a surplus', () => {
  const older = Array.from({ length: 60 }, (_, i) => ({ at: scaleNow - 70_000 - i * 1000, concurrency: 900 }))
  const tenSpread: Partial<ScaleState> = {
    inFlight: 60,
    window: steadyWindow(60),
    replicas: { ...none, running: 10 },
  }

  test('is what the last 60 s did not need', () => {
    expect(decide(tenSpread)).toMatchObject({ wanted: 2, surplus: 8, reason: 'surplus' })
  })

  test.each<[string, Partial<ScaleState>, number, string]>([
    ['is held while signals are missing', { signalsComplete: false }, 0, 'signalsMissing'],
    ['is held when the samples are old', { window: steadyWindow(60).slice(10) }, 0, 'signalsMissing'],
    ['is held until the window is covered', { window: steadyWindow(60).slice(0, 30) }, 0, 'steady'],
    ['keeps the highest demand of the last seconds', { window: withPeak(5_000) }, 5, 'surplus'],
    [
      'keeps a peak for longer where starts are slow',
      { window: withPeak(30_000), averageStartMs: 20_000 },
      5,
      'surplus',
    ],
    ['forgets a peak once it could start again twice', { window: withPeak(30_000) }, 8, 'surplus'],
    ['is measured by the average of the window', { window: busyUntil(8_000) }, 2, 'surplus'],
    ['is not measured by what is older', { window: [...steadyWindow(60), ...older] }, 8, 'surplus'],
    ['is none when demand just came back', { inFlight: 560 }, 0, 'steady'],
    ['leaves minScale', { minScale: 6 }, 4, 'surplus'],
    ['leaves the last to the idle ladder', { inFlight: 0, window: steadyWindow(0) }, 9, 'surplus'],
    [
      'is none where the tail goes idle by itself',
      { concurrency: 3, inFlight: 3, window: steadyWindow(3) },
      0,
      'steady',
    ],
    ['is what stands above a lowered maxScale', { concurrency: 1, inFlight: 10, maxScale: 4 }, 6, 'maxScale'],
  ])('%s', (_name, changes, surplus, reason) => {
    expect(decide({ ...tenSpread, ...changes })).toMatchObject({ surplus, reason })
  })

  /** 480 until `ageMs` ago and 60 since: about 424 on average, which is 8 replicas of 56. */
  function busyUntil(ageMs: number) {
    return steadyWindow(480).map(({ at, concurrency }) => ({
      at,
      concurrency: at > scaleNow - ageMs ? 60 : concurrency,
    }))
  }

  function withPeak(ageMs: number) {
    return [...steadyWindow(60), { at: scaleNow - ageMs, concurrency: 250 }]
  }
})

test.each([
  [1, 2],
  [4, 5],
  [20, 25],
  [10, 13],
])('maxScale %d may surge to %d', (maxScale, surged) => {
  expect(surgeScale(maxScale)).toBe(surged)
})

describe('whatever the state', () => {
  const count = fc.nat(30)
  const state = fc
    .record({
      concurrency: fc.integer({ min: 0, max: 1000 }),
      maxScale: fc.integer({ min: 1, max: 50 }),
      minShare: fc.double({ min: 0, max: 1, noNaN: true }),
      inFlight: fc.nat(5000),
      queued: fc.nat(5000),
      replicas: fc.record({ starting: count, running: count, frozen: count, parked: count }),
      window: fc.array(
        fc.record({ at: fc.integer({ min: scaleNow - 70_000, max: scaleNow }), concurrency: fc.nat(5000) }),
      ),
      averageStartMs: fc.nat(60_000),
      signalsComplete: fc.boolean(),
    })
    .map(({ minShare, ...rest }): ScaleState => ({ ...rest, minScale: Math.floor(minShare * rest.maxScale) }))

  test('wanted is within minScale and maxScale, and the counts add up', () => {
    fc.assert(
      fc.property(state, (state) => {
        const { wanted, unfreeze, startParked, create, surplus } = decideScale(state, scaleNow)
        const { starting, running, frozen, parked } = state.replicas
        expect(wanted).toBeGreaterThanOrEqual(state.minScale)
        expect(wanted).toBeLessThanOrEqual(state.maxScale)
        expect(unfreeze + startParked + create).toBe(Math.max(0, wanted - starting - running))
        expect(unfreeze).toBeLessThanOrEqual(frozen)
        expect(startParked).toBeLessThanOrEqual(parked)
        const active = starting + running + frozen
        expect(active + startParked + create).toBeLessThanOrEqual(Math.max(state.maxScale, active))
        expect(running - surplus).toBeGreaterThanOrEqual(Math.min(running, wanted))
      }),
    )
  })

  test('nothing is taken away while signals are missing', () => {
    fc.assert(
      fc.property(state, (state) => {
        expect(decideScale({ ...state, signalsComplete: false }, scaleNow).surplus).toBe(0)
      }),
    )
  })

  test('more demand never wants fewer replicas', () => {
    fc.assert(
      fc.property(state, fc.nat(500), (state, more) => {
        const { wanted } = decideScale(state, scaleNow)
        const busier = { ...state, queued: state.queued + more }
        expect(decideScale(busier, scaleNow).wanted).toBeGreaterThanOrEqual(wanted)
      }),
    )
  })

  test('demand at the limit of every replica is never above what is wanted below maxScale', () => {
    fc.assert(
      fc.property(state, (state) => {
        const { wanted } = decideScale(state, scaleNow)
        if (state.concurrency === 0 || wanted === state.maxScale) return
        expect(wanted * state.concurrency).toBeGreaterThanOrEqual(state.inFlight + state.queued)
      }),
    )
  })
})
