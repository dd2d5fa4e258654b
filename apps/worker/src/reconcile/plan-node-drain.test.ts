import type { NodeUid, ReplicaId } from '@berth/contracts'
import type { ReconcileSnapshot, ReplicaFacts } from '@berth/db'
import { describe, expect, test } from 'vitest'
import { plan } from './plan.ts'
import { drainTrouble } from './plan-node-drain.ts'
import {
  aDeployment,
  aFailure,
  aNode,
  aReplica,
  aService,
  readAtMs,
  serving,
} from './testing/snapshot-builders.ts'

const n2 = 'nod-n2' as NodeUid
const drained = [aNode('n1', { scheduling: 'draining' }), aNode('n2')]
const full = { capacity: { cpuMillis: 2000, memoryBytes: 600 * 1024 ** 2 } }

/** Revision 1 serves with these replicas, node n1 is drained, n2 is there for others. */
function draining(replicas: ReplicaFacts[], change: Partial<ReconcileSnapshot> = {}) {
  return serving(1, { replicas, nodes: drained, ...change })
}

const inPlaceOf = (of: string, change: Partial<ReplicaFacts> = {}) =>
  aReplica(`for-${of}`, 1, { replaces: of as ReplicaId, nodeUid: n2, ...change })
const starting = { state: 'starting', readyAt: null } as const
const steps = (snapshot: ReconcileSnapshot) =>
  plan(snapshot, {}, readAtMs).filter(({ kind }) => kind !== 'set-condition' && kind !== 'wait')

describe('a replica on a drained node', () => {
  test('that runs is replaced elsewhere before it goes', () => {
    expect(steps(draining([aReplica('a', 1)]))).toEqual([
      {
        kind: 'replace-replicas',
        revision: { uid: 'rev-1', name: 'hello-00001' },
        replacements: [{ of: 'a', node: { uid: n2, name: 'n2' } }],
        atMost: 25,
      },
    ])
  })

  test('stays while the one in its place starts', () => {
    expect(steps(draining([aReplica('a', 1), inPlaceOf('a', starting)]))).toEqual([])
  })

  test('retires when the one in its place is ready', () => {
    expect(steps(draining([aReplica('a', 1), inPlaceOf('a')]))).toEqual([
      { kind: 'retire-replicas', replicas: ['a'] },
    ])
  })

  test('that is idle retires at once', () => {
    const idle = [aReplica('a', 1, { rung: 'frozen' }), aReplica('b', 1, { rung: 'parked' })]
    expect(steps(draining(idle))).toEqual([{ kind: 'retire-replicas', replicas: ['a', 'b'] }])
  })

  test('that still starts is left alone', () => {
    expect(steps(draining([aReplica('a', 1, starting)]))).toEqual([])
  })

  test('is replaced after a back-off when what was started in its place failed', () => {
    const failed = (agoMs: number) => ({
      ...aFailure('for-a', 1, agoMs),
      replaces: 'a' as ReplicaId,
      nodeUid: n2,
    })
    expect(steps(draining([aReplica('a', 1), failed(999)]))).toEqual([])
    expect(drainTrouble(draining([aReplica('a', 1), failed(999)]), readAtMs)).toBe(
      '1 replica stays on the drained node n1: what was started in its place failed (AppCrashed)',
    )
    expect(steps(draining([aReplica('a', 1), failed(1_000)]))).toMatchObject([{ kind: 'replace-replicas' }])
  })

  test('waits for a deployment that is under way', () => {
    const snapshot = draining([aReplica('a', 1)], {
      open: [aDeployment(1, { phase: 'shifting' })],
      acknowledged: null,
    })
    expect(steps(snapshot)).toEqual([])
  })

  test('whose node is down waits until it counts as lost', () => {
    const nodes = [aNode('n1', { scheduling: 'draining', reachability: 'down' }), aNode('n2')]
    expect(steps(draining([aReplica('a', 1)], { nodes }))).toEqual([])
  })

  test('is none when the node is only cordoned', () => {
    const nodes = [aNode('n1', { scheduling: 'cordoned' }), aNode('n2')]
    expect(steps(draining([aReplica('a', 1)], { nodes }))).toEqual([])
  })

  test('goes with the service when that is deleted', () => {
    const service = aService({ deletedAt: new Date(readAtMs) })
    const kinds = steps(draining([aReplica('a', 1)], { service })).map(({ kind }) => kind)
    expect(kinds).toEqual(['shift-traffic', 'retire-replicas'])
  })
})

describe('many replicas on a drained node', () => {
  const four = ['a', 'b', 'c', 'd'].map((id) => aReplica(id, 1))

  test('are replaced as many at a time as the service may have above its maxScale', () => {
    const service = aService({ maxScale: 4 })
    expect(steps(draining(four, { service }))).toMatchObject([{ replacements: [{ of: 'a' }], atMost: 5 }])
    const replaced = [...four, inPlaceOf('a', starting)]
    expect(steps(draining(replaced, { service }))).toEqual([])
    expect(drainTrouble(draining(replaced, { service }), readAtMs)).toBe(
      '4 replicas stay on the drained node n1: the service has all the 5 replicas it may have',
    )
  })

  test('retire one by one as the others become ready', () => {
    const some = [...four, inPlaceOf('b'), inPlaceOf('c', starting)]
    expect(steps(draining(some))).toMatchObject([
      { kind: 'retire-replicas', replicas: ['b'] },
      { kind: 'replace-replicas', replacements: [{ of: 'a' }, { of: 'd' }] },
    ])
  })

  test('stay where no other node fits, and the condition says why', () => {
    const snapshot = draining(four, { nodes: [aNode('n1', { scheduling: 'draining' }), aNode('n2', full)] })
    expect(steps(snapshot)).toEqual([])
    const why =
      '4 replicas stay on the drained node n1: none of 2 nodes fits: 1 node: draining; 1 node: memory 512Mi asked, 88Mi free'
    expect(drainTrouble(snapshot, readAtMs)).toBe(why)
    const condition = plan(snapshot, {}, readAtMs).find(({ kind }) => kind === 'set-condition')
    expect(condition).toMatchObject({ ready: { status: 'True', message: `hello-00001 serves; ${why}` } })
  })
})
