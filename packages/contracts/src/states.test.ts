import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import {
  deploymentPhases,
  finalDeploymentPhases,
  isFinalPhase,
  mayMoveDeployment,
  mayMoveReplica,
  replicaStates,
} from './states.ts'

const phase = fc.constantFrom(...deploymentPhases)

describe('a deployment', () => {
  test('never leaves a final phase', () => {
    for (const from of finalDeploymentPhases)
      for (const to of deploymentPhases) expect(mayMoveDeployment(from, to)).toBe(false)
  })

  test('may end from every phase that is not final', () => {
    fc.assert(
      fc.property(phase, fc.constantFrom(...finalDeploymentPhases), (from, to) => {
        expect(mayMoveDeployment(from, to)).toBe(!isFinalPhase(from))
      }),
    )
  })

  test('never moves back', () => {
    fc.assert(
      fc.property(phase, phase, (a, b) => {
        expect(mayMoveDeployment(a, b) && mayMoveDeployment(b, a)).toBe(false)
      }),
    )
  })
})

describe('a replica', () => {
  test('that failed stays failed', () => {
    for (const to of replicaStates) expect(mayMoveReplica('failed', to)).toBe(false)
  })

  test('that drains never serves again', () => {
    expect(mayMoveReplica('draining', 'ready')).toBe(false)
    expect(mayMoveReplica('ready', 'draining')).toBe(true)
  })
})
