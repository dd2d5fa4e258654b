import type {
  HostRoute,
  LeaderFrame,
  ReplicaId,
  RouteDelta,
  RouteVersion,
  ServiceUid,
} from '@berth/contracts'
import { afterEach, beforeEach, describe, expect, onTestFinished, test, vi } from 'vitest'
import { createRoutePublisher } from './route-publisher.ts'
import { aReplica, aRevision, aService, aWorld } from './testing/picture.ts'

const uid = 'svc-1' as ServiceUid

function setUp() {
  const world = aWorld({ services: [aService()], revisions: [aRevision()], replicas: [aReplica()] })
  const sent: LeaderFrame[] = []
  const asked: { version: RouteVersion; replicas: readonly ReplicaId[] }[] = []
  const routed: HostRoute['targets'][] = []
  let answer = true
  const term = new AbortController()
  const publisher = createRoutePublisher({
    installation: 'test',
    domain: 'localhost',
    epoch: 7,
    world,
    signal: term.signal,
    audience: {
      broadcast: (frame) => sent.push(frame),
      acknowledged(version, replicas) {
        asked.push({ version, replicas })
        return Promise.resolve(answer)
      },
    },
    onServiceRouted: (_service, targets) => routed.push(targets),
  })
  onTestFinished(() => term.abort())
  return { world, sent, asked, routed, publisher, term, acknowledge: (yes: boolean) => (answer = yes) }
}

describe('the route publisher', () => {
  test('numbers every change in its epoch and builds each delta on the one before', () => {
    const { world, publisher, sent } = setUp()
    expect(publisher.publish([uid])).toEqual({ epoch: 7, sequence: 1 })
    world.updateReplica('rep-1' as ReplicaId, { serving: false })
    expect(publisher.publish([uid])).toEqual({ epoch: 7, sequence: 2 })
    expect(sent.map((frame) => (frame as RouteDelta).base.sequence)).toEqual([0, 1])
    expect((sent[1] as RouteDelta).revisions[0]?.replicas).toEqual([])
    expect((sent[1] as RouteDelta).hosts).toEqual([])
  })

  test('sends nothing when nothing changed', () => {
    const { publisher, sent } = setUp()
    publisher.publish([uid])
    expect(publisher.publish([uid]).sequence).toBe(1)
    expect(sent).toHaveLength(1)
  })

  test('removes what a deleted service had', () => {
    const { world, publisher, sent } = setUp()
    publisher.publish([uid])
    world.put({ services: [aService({ deleting: true })] })
    publisher.publish([uid])
    expect(sent[1]).toMatchObject({ removedHosts: ['hello.localhost'], removedRevisions: ['rev-1'] })
    expect(publisher.snapshot().hosts).toEqual([])
  })

  test('tells once the targets of a service are served by every router', async () => {
    const { publisher, routed } = setUp()
    publisher.publish([uid])
    await expect.poll(() => routed).toEqual([[{ revision: 'rev-1', percent: 100 }]])
  })

  test('tells of a service that had no routes left when this leader began, too', async () => {
    const { world, publisher, routed } = setUp()
    world.put({ services: [aService({ deleting: true })] })
    publisher.publish([uid])
    await expect.poll(() => routed).toEqual([[]])
  })

  test('asks again only when the targets change', async () => {
    const { world, publisher, asked, routed } = setUp()
    publisher.publish([uid])
    world.updateReplica('rep-1' as ReplicaId, { serving: false })
    publisher.publish([uid])
    await expect.poll(() => routed).toHaveLength(1)
    expect(asked).toHaveLength(1)
  })

  test('tells nothing while a router has not acknowledged', async () => {
    const { publisher, routed, asked, acknowledge } = setUp()
    acknowledge(false)
    publisher.publish([uid])
    await expect.poll(() => asked).toHaveLength(1)
    expect(routed).toEqual([])
  })

  describe('whose routers answer too late', () => {
    beforeEach(() => void vi.useFakeTimers())
    afterEach(() => void vi.useRealTimers())

    test('asks again, and tells when they have acknowledged after all', async () => {
      const { publisher, routed, acknowledge } = setUp()
      acknowledge(false)
      publisher.publish([uid])
      await vi.advanceTimersByTimeAsync(5000)
      expect(routed).toEqual([])
      acknowledge(true)
      await vi.advanceTimersByTimeAsync(5000)
      expect(routed).toEqual([[{ revision: 'rev-1', percent: 100 }]])
    })

    test('asks no more for targets that have changed since, nor after its term', async () => {
      const { world, publisher, asked, acknowledge, term } = setUp()
      acknowledge(false)
      publisher.publish([uid])
      world.put({ services: [aService({ deleting: true })] })
      publisher.publish([uid])
      asked.length = 0
      await vi.advanceTimersByTimeAsync(5000)
      expect(new Set(asked.map(({ version }) => version.sequence))).toEqual(new Set([2]))
      term.abort()
      asked.length = 0
      await vi.advanceTimersByTimeAsync(5000)
      expect(asked).toEqual([])
    })
  })

  test('carries why a revision is blocked until it is not', () => {
    const { publisher, sent } = setUp()
    publisher.publish([uid])
    const reason = { reason: 'Unplaceable', message: '3 nodes: memory 1Gi asked' }
    publisher.setBlocked(aRevision().uid, reason)
    publisher.setBlocked(aRevision().uid, reason)
    publisher.setBlocked(aRevision().uid, null)
    expect(sent.map((frame) => (frame as RouteDelta).revisions[0]?.blocked)).toEqual([null, reason, null])
  })

  test('calls a replica busy when a router still has requests on it', async () => {
    const { publisher, acknowledge } = setUp()
    const version = publisher.publish([uid])
    expect(await publisher.withdrawn('rep-1' as ReplicaId, version, 10)).toBe('withdrawn')
    acknowledge(false)
    expect(await publisher.withdrawn('rep-1' as ReplicaId, version, 10)).toBe('busy')
  })
})
