import type { NodeUid, ReplicaId } from '@berth/contracts'
import { pino } from 'pino'
import { beforeEach, expect, test } from 'vitest'
import type { HoldOutcome } from '../replicas/index.ts'
import { createHeldStarts, mostHeld } from './held-starts.ts'
import { createNodeLanes } from './node-lanes.ts'
import { aNode, aReplica } from './testing/picture.ts'
import type { NodeView, ReplicaView } from './world-model.ts'

const [n1, n2] = ['nod-1', 'nod-2'] as [NodeUid, NodeUid]

let replicas: Map<ReplicaId, ReplicaView>
let nodes: Map<string, NodeView>
let asked: { id: ReplicaId; answer(outcome: HoldOutcome | { kind: 'busy' }): void }[]
let busy: Set<ReplicaId>
let starting: Set<NodeUid>
let clock: number
let heldStarts: { tick(): void }

beforeEach(() => {
  ;[replicas, nodes, asked, busy, starting, clock] = [new Map(), new Map(), [], new Set(), new Set(), 0]
  for (const uid of [n1, n2]) nodes.set(uid, aNode({ uid }))
  heldStarts = createHeldStarts({
    picture: { nodes, replicas },
    keeper: {
      hold: (id) => new Promise((resolve) => void asked.push({ id, answer: resolve })),
      busyWith: (id) => busy.has(id),
    },
    isStarting: (uid) => starting.has(uid),
    lanes: createNodeLanes('held starts', pino({ level: 'silent' })),
    now: () => clock,
  })
})

function put(name: string, change: Partial<ReplicaView> = {}): void {
  const id = name as ReplicaId
  replicas.set(id, aReplica({ id, rung: 'parked', serving: false, nodeUid: n1, ...change }))
}

const held = { kind: 'held', app: 'a' } as const
const failed = { kind: 'failed', reason: 'EngineError', message: 'it refused' } as const
const ids = () => asked.map(({ id }) => id)

async function answer(at: number, outcome: HoldOutcome): Promise<void> {
  asked[at]?.answer(outcome)
  await new Promise((resolve) => void setImmediate(resolve))
  heldStarts.tick()
}

test('parked apps are held one after the other on each node', async () => {
  put('a')
  put('b')
  put('c', { nodeUid: n2 })
  heldStarts.tick()
  heldStarts.tick()
  expect(ids()).toEqual(['a', 'c'])
  put('a', { held: true })
  await answer(0, held)
  expect(ids()).toEqual(['a', 'c', 'b'])
})

test('an app is left alone that is not parked, is held already or is being woken', () => {
  put('running', { rung: 'running' })
  put('frozen', { rung: 'frozen' })
  put('draining', { state: 'draining' })
  put('held', { held: true })
  put('busy')
  busy.add('busy' as ReplicaId)
  heldStarts.tick()
  expect(ids()).toEqual([])
})

test('what is started or woken on a node goes first, and a node that is down is asked for nothing', () => {
  put('a')
  put('b', { nodeUid: n2 })
  starting.add(n1)
  nodes.set(n2, aNode({ uid: n2, reachability: 'down' }))
  heldStarts.tick()
  expect(ids()).toEqual([])
})

test('one that fails is tried again after a minute, and the others meanwhile', async () => {
  put('a')
  put('b')
  heldStarts.tick()
  await answer(0, failed)
  expect(ids()).toEqual(['a', 'b'])
  await answer(1, failed)
  expect(ids()).toEqual(['a', 'b'])
  clock = 60_000
  heldStarts.tick()
  expect(ids()).toEqual(['a', 'b', 'a'])
})

test('one that cannot be held is not asked for again', async () => {
  put('a')
  heldStarts.tick()
  await answer(0, { kind: 'unable', message: 'it has volumes' })
  clock = 86_400_000
  heldStarts.tick()
  expect(ids()).toEqual(['a'])
})

test('nothing else is made on a node until what was called off is cleared away', async () => {
  const clearing = Promise.withResolvers<void>()
  put('a')
  heldStarts.tick()
  await answer(0, { kind: 'called off', cleared: clearing.promise })
  expect(ids()).toEqual(['a'])
  clearing.resolve()
  await new Promise((resolve) => void setImmediate(resolve))
  heldStarts.tick()
  expect(ids()).toEqual(['a', 'a'])
})

test('a node holds no more than fit into a twentieth of its memory', () => {
  expect(mostHeld({ memoryBytes: 4 * 1024 ** 3 })).toBe(34)
  nodes.set(n1, aNode({ uid: n1, memoryBytes: 400 * 1024 ** 2 }))
  for (const name of ['a', 'b', 'c']) put(name, { held: true })
  put('d')
  heldStarts.tick()
  expect(ids()).toEqual([])
  put('c', { rung: 'running' })
  heldStarts.tick()
  expect(ids()).toEqual(['d'])
})
