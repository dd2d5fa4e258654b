import type { ReplicaId, ServiceUid } from '@berth/contracts'
import type { WorldReplica, WorldRows } from '@berth/db'
import { expect, test } from 'vitest'
import { aNode, aReplica, aRevision, aService } from './testing/picture.ts'
import { createPicture, type Read } from './world.ts'

const id = 'rep-1' as ReplicaId
const uid = 'svc-1' as ServiceUid

function rows(change: Partial<WorldReplica> | null = {}): WorldRows {
  const { serving: _serving, ...replica } = aReplica()
  return {
    services: [{ ...aService(), deploying: false }],
    revisions: [aRevision()],
    replicas: change === null ? [] : [{ ...replica, failedAt: null, ...change }],
    nodes: [aNode()],
  }
}

const read = (number: number): Read => ({ number, moment: number })
let reads = 1
const next = () => read((reads += 1))

function picture(touched = false) {
  const own = { touched }
  const made = createPicture({ touchedSince: () => own.touched })
  made.merge(rows(), read(1))
  return { own, made }
}

test('a replica that is new in the picture is not routed before it was looked at', () => {
  expect(picture().made.replicas.get(id)?.serving).toBe(false)
})

test('rows change what the leader has not touched', () => {
  const { made } = picture()
  made.merge(rows({ rung: 'parked' }), next())
  expect(made.replicas.get(id)?.rung).toBe('parked')
})

test('what the leader is doing wins over rows that were read before', () => {
  const { made, own } = picture()
  own.touched = true
  made.updateReplica(id, { rung: 'frozen' })
  made.merge(rows({ rung: 'running' }), next())
  expect(made.replicas.get(id)?.rung).toBe('frozen')
  made.merge(rows(null), next())
  expect(made.replicas.has(id)).toBe(true)
})

test('a wish to drain is believed at any time and never taken back', () => {
  const { made, own } = picture()
  own.touched = true
  made.merge(rows({ state: 'draining' }), next())
  expect(made.replicas.get(id)?.state).toBe('draining')
  own.touched = false
  made.merge(rows({ state: 'ready' }), next())
  expect(made.replicas.get(id)?.state).toBe('draining')
})

test('a refresh of one service leaves the others alone', () => {
  const { made } = picture()
  made.merge({ services: [], revisions: [], replicas: [], nodes: [aNode()] }, next(), 'svc-2' as ServiceUid)
  expect(made.replicas.has(id)).toBe(true)
  expect(made.services.size).toBe(1)
})

test('tells of every service that changed, and of none when nothing did', () => {
  const { made } = picture()
  const told: string[] = []
  made.onChange(({ services }) => told.push(...services))
  made.merge(rows(), next())
  expect(told).toEqual([])
  made.merge(rows({ hostPort: 20_001 }), next())
  expect(told).toEqual(['svc-1'])
})

test('how a node is reached is what the leader saw, not what its row says', () => {
  const { made } = picture()
  made.updateNode(aNode().uid, { reachability: 'down' })
  made.merge(rows(), next())
  expect(made.nodes.get(aNode().uid)?.reachability).toBe('down')
})

test('a read that began earlier and comes later undoes nothing', () => {
  const { made } = picture()
  made.merge(rows({ hostPort: 20_002 }), read(3), uid)
  made.merge(rows({ hostPort: 20_001 }), read(2))
  expect(made.replicas.get(id)?.hostPort).toBe(20_002)
  made.merge(rows(null), read(4))
  made.merge(rows(), read(3), uid)
  expect(made.replicas.has(id)).toBe(false)
})

test('a read of everything that began earlier still counts for all other services', () => {
  const { made } = picture()
  const other = { uid: 'svc-2' as ServiceUid, name: 'other' }
  made.merge({ services: [], revisions: [], replicas: [], nodes: [aNode()] }, read(3), other.uid)
  const both = [aService(), aService(other)].map((service) => ({ ...service, deploying: false }))
  made.merge({ ...rows({ hostPort: 20_001 }), services: both }, read(2))
  expect(made.replicas.get(id)?.hostPort).toBe(20_001)
  expect([...made.services.keys()]).toEqual([uid])
})
