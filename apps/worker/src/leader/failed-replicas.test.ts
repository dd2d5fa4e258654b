import type { NodeUid, ReplicaId } from '@berth/contracts'
import { expect, test } from 'vitest'
import { createFailedReplicas } from './failed-replicas.ts'
import { aNode, aReplica } from './testing/picture.ts'
import { createPicture } from './world.ts'

const id = 'rep-1' as ReplicaId
const lost = 'nod-1' as NodeUid

/** A replica on the first of the nodes; `fails` collects why it was given up. */
function setUp(nodeCount: number) {
  const picture = createPicture({ touchedSince: () => false })
  const nodes = Array.from({ length: nodeCount }, (_, index) => aNode({ uid: `nod-${index + 1}` as NodeUid }))
  const { serving: _serving, ...replica } = aReplica()
  picture.merge(
    { services: [], revisions: [], replicas: [{ ...replica, failedAt: null }], nodes },
    { number: 1, moment: 0 },
  )
  const fails: string[] = []
  const state = { now: 0, hold: null as string | null, busy: false }
  const failed = createFailedReplicas({
    picture,
    keeper: {
      busyWith: () => state.busy,
      fail(id, { reason }) {
        fails.push(reason)
        picture.updateReplica(id, { state: 'failed' })
      },
      clear: () => Promise.resolve(true),
    },
    writer: {
      write: () => undefined,
      touchedSince: () => false,
      moment: () => 0,
      idle: () => Promise.resolve(),
      close: () => undefined,
    },
    held: () => state.hold,
    now: () => state.now,
  })
  const after = (seconds: number) => {
    state.now += seconds * 1000
    failed.tick()
  }
  failed.tick()
  return { picture, fails, state, after }
}

test('replicas of a node that stays down are given up once another node can take over', () => {
  const { picture, fails, after } = setUp(2)
  picture.updateNode(lost, { reachability: 'down' })
  after(0)
  after(4)
  expect(fails).toEqual([])
  after(2)
  expect(fails).toEqual(['NodeLost'])
})

test('a node that comes back in time keeps its replicas', () => {
  const { picture, fails, after } = setUp(2)
  picture.updateNode(lost, { reachability: 'down' })
  after(0)
  after(4)
  picture.updateNode(lost, { reachability: 'ready' })
  after(1)
  picture.updateNode(lost, { reachability: 'down' })
  after(1)
  after(4)
  expect(fails).toEqual([])
})

test.each([
  { why: 'no other node answers', nodes: 1, hold: null },
  { why: 'rescheduling is on hold', nodes: 3, hold: '2 of 3 nodes were lost within 30 s' },
])('they are kept for minutes while $why', ({ nodes, hold }) => {
  const { picture, fails, state, after } = setUp(nodes)
  state.hold = hold
  picture.updateNode(lost, { reachability: 'down' })
  after(0)
  after(200)
  expect(fails).toEqual([])
  after(200)
  expect(fails).toEqual(['NodeLost'])
})

test('a failed one is kept for its reason, but not on a node that is drained', async () => {
  const { picture, after } = setUp(2)
  picture.updateReplica(id, { state: 'failed' })
  after(0)
  await Promise.resolve()
  after(1)
  expect(picture.replicas.has(id)).toBe(true)
  picture.updateNode(lost, { scheduling: 'draining' })
  after(1)
  expect(picture.replicas.has(id)).toBe(false)
})

test('one that was starting is given up at once, whatever is being done to it', () => {
  const { picture, fails, state, after } = setUp(2)
  picture.updateReplica(id, { state: 'starting' })
  state.busy = true
  picture.updateNode(lost, { reachability: 'down' })
  after(0)
  expect(fails).toEqual(['NodeLost'])
  expect(picture.replicas.get(id)?.state).toBe('failed')
})

test('one that is being stepped down or woken is given up like the others', () => {
  const { picture, fails, state, after } = setUp(2)
  state.busy = true
  picture.updateNode(lost, { reachability: 'down' })
  after(0)
  after(6)
  expect(fails).toEqual(['NodeLost'])
})
