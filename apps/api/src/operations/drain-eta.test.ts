import { describe, expect, test } from 'vitest'
import { drainEta, type DrainProgress } from './drain-eta.ts'

type Leaving = DrainProgress['leaving'][number]

const aReplica = (change: Partial<Leaving> = {}): Leaving => ({
  service: 'hello',
  state: 'ready',
  rung: 'running',
  deploying: false,
  replacementOn: null,
  coldStartMs: 4000,
  maxScale: 5,
  standing: 5,
  ...change,
})
const replicas = (count: number, change: Partial<Leaving> = {}) =>
  Array.from({ length: count }, () => aReplica(change))
const eta = (leaving: Leaving[], { moved = 0, elapsedMs = 0 } = {}) => drainEta({ leaving, moved, elapsedMs })

const nobodyKnows = { etaSeconds: null, etaFrom: null }

describe('before anything has moved', () => {
  /** The first of them is being replaced; what replaces it stands too. */
  const begun = (count: number, change: Partial<Leaving> = {}) => {
    const [first, ...others] = replicas(count, { standing: 6, ...change })
    return first === undefined ? [] : [{ ...first, replacementOn: 'n2' }, ...others]
  }

  test('a drain takes as many rounds of starts as the surge allows, the slowest service counts', () => {
    expect(eta(begun(5))).toEqual({ etaSeconds: 12, etaFrom: 'starts' })
    expect(eta(begun(5, { standing: 3 }))).toEqual({ etaSeconds: 4, etaFrom: 'starts' })
    expect(eta(begun(2, { standing: 9 }))).toEqual({ etaSeconds: 8, etaFrom: 'starts' })
    const others = begun(1, { service: 'slow', coldStartMs: 30_000 })
    expect(eta([...begun(5), ...others])).toEqual({ etaSeconds: 30, etaFrom: 'starts' })
  })

  test('what is idle costs nothing, and time that has passed is taken off', () => {
    const leaving = [...begun(1), ...replicas(3, { rung: 'frozen' })]
    expect(eta(leaving, { elapsedMs: 1500 })).toEqual({ etaSeconds: 3, etaFrom: 'starts' })
  })

  test.each<[string, Leaving[], number]>([
    ['no node was found yet', replicas(9), 0],
    ['a start was never measured', [...begun(1), aReplica({ coldStartMs: undefined })], 0],
    ['a deployment comes first', [...begun(1), aReplica({ deploying: true })], 0],
    ['only requests have to end', [aReplica({ state: 'draining' })], 0],
    ['the starts take longer than they did', begun(1), 5000],
  ])('nobody knows where %s', (_what, leaving, elapsedMs) => {
    expect(eta(leaving, { elapsedMs })).toEqual(nobodyKnows)
  })
})

test('once something has moved the rest is expected at that pace', () => {
  const left = replicas(2, { replacementOn: 'n2', coldStartMs: undefined })
  expect(eta(left, { moved: 3, elapsedMs: 9000 })).toEqual({ etaSeconds: 6, etaFrom: 'pace' })
  expect(eta(replicas(2), { moved: 3, elapsedMs: 9000 })).toEqual(nobodyKnows)
})

test('a node that is empty is drained', () => {
  expect(eta([], { moved: 3, elapsedMs: 9000 })).toEqual({ etaSeconds: 0, etaFrom: null })
})
