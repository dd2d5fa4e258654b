import type { ReplicaId, ServiceUid } from '@berth/contracts'
import type { WorldReplica, WorldRows } from '@berth/db'
import { expect, test } from 'vitest'
import { aNode, aReplica, aRevision, aService } from './testing/picture.ts'
import { createPicture } from './world.ts'

const id = 'rep-1' as ReplicaId

function rows(change: Partial<WorldReplica> | null = {}): WorldRows {
  const { serving: _serving, ...replica } = aReplica()
  return {
    services: [{ ...aService(), deploying: false }],
    revisions: [aRevision()],
    replicas: change === null ? [] : [{ ...replica, failedAt: null, ...change }],
    nodes: [aNode()],
  }
}

function picture(touched = false) {
  const own = { touched }
  const made = createPicture({ touchedSince: () => own.touched })
  made.merge(rows(), 0)
  return { own, made }
}

test('a replica that is new in the picture is not routed before it was looked at', () => {
  expect(picture().made.replicas.get(id)?.serving).toBe(false)
})

test('rows change what the leader has not touched', () => {
  const { made } = picture()
  made.merge(rows({ rung: 'parked' }), 1)
  expect(made.replicas.get(id)?.rung).toBe('parked')
})

test('what the leader is doing wins over rows that were read before', () => {
  const { made, own } = picture()
  own.touched = true
  made.updateReplica(id, { rung: 'frozen' })
  made.merge(rows({ rung: 'running' }), 1)
  expect(made.replicas.get(id)?.rung).toBe('frozen')
  made.merge(rows(null), 1)
  expect(made.replicas.has(id)).toBe(true)
})

test('a wish to drain is believed at any time and never taken back', () => {
  const { made, own } = picture()
  own.touched = true
  made.merge(rows({ state: 'draining' }), 1)
  expect(made.replicas.get(id)?.state).toBe('draining')
  own.touched = false
  made.merge(rows({ state: 'ready' }), 1)
  expect(made.replicas.get(id)?.state).toBe('draining')
})

test('a refresh of one service leaves the others alone', () => {
  const { made } = picture()
  made.merge({ services: [], revisions: [], replicas: [], nodes: [aNode()] }, 1, 'svc-2' as ServiceUid)
  expect(made.replicas.has(id)).toBe(true)
  expect(made.services.size).toBe(1)
})

test('tells of every service that changed, and of none when nothing did', () => {
  const { made } = picture()
  const told: string[] = []
  made.onChange(({ services }) => told.push(...services))
  made.merge(rows(), 1)
  expect(told).toEqual([])
  made.merge(rows({ hostPort: 20_001 }), 1)
  expect(told).toEqual(['svc-1'])
})

test('how a node is reached is what the leader saw, not what its row says', () => {
  const { made } = picture()
  made.updateNode(aNode().uid, { reachability: 'down' })
  made.merge(rows(), 1)
  expect(made.nodes.get(aNode().uid)?.reachability).toBe('down')
})
