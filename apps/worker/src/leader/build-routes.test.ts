import type { NodeUid, ReplicaId, RevisionUid } from '@berth/contracts'
import { describe, expect, test } from 'vitest'
import { buildRoutes, type RoutedService } from './build-routes.ts'
import { aReplica, aRevision, aService } from './testing/picture.ts'
import type { ReplicaView } from './world-model.ts'

const second = aRevision({ uid: 'rev-2' as RevisionUid, name: 'hello-00002' })

function routed(change: Partial<RoutedService> = {}): RoutedService {
  return {
    service: aService(),
    revisions: [aRevision(), second],
    replicas: [aReplica()],
    nodeName: () => 'n1',
    isDown: () => false,
    blocked: () => null,
    ...change,
  }
}

describe('the routes of a service', () => {
  test('lead its host to the revision that has all the traffic', () => {
    const routes = buildRoutes(routed(), 'localhost')
    expect(routes.hosts).toMatchObject([
      { host: 'hello.localhost', targets: [{ revision: 'rev-1', percent: 100 }] },
    ])
    expect(routes.revisions).toMatchObject([
      { uid: 'rev-1', replicas: [{ id: 'rep-1', node: 'n1', port: 20_000 }] },
    ])
  })

  test('add up two targets of the same revision', () => {
    const traffic = [
      { revision: 'hello-00001', percent: 30, tag: null },
      { revision: 'hello-00001', percent: 70, tag: null },
    ]
    const routes = buildRoutes(routed({ service: aService({ traffic }) }), 'localhost')
    expect(routes.hosts[0]?.targets).toEqual([{ revision: 'rev-1', percent: 100 }])
  })

  test('give a tag its own host, also with no traffic', () => {
    const traffic = [
      { revision: 'hello-00001', percent: 100, tag: null },
      { revision: 'hello-00002', percent: 0, tag: 'canary' },
    ]
    const service = aService({ project: 'acme', traffic })
    const routes = buildRoutes(routed({ service }), 'localhost')
    expect(routes.hosts.map((host) => host.host)).toEqual([
      'hello--acme.localhost',
      'canary---hello--acme.localhost',
    ])
    expect(routes.revisions.map((revision) => revision.uid)).toEqual(['rev-1', 'rev-2'])
  })

  test('say on every host that clients come back, and nothing where they need not', () => {
    const traffic = [{ revision: 'hello-00001', percent: 100, tag: 'canary' }]
    const service = aService({ sessionAffinity: 'cookie', traffic })
    const { hosts } = buildRoutes(routed({ service }), 'localhost')
    expect(hosts.map(({ affinity }) => affinity)).toEqual(['cookie', 'cookie'])
    expect(buildRoutes(routed(), 'localhost').hosts[0]).not.toHaveProperty('affinity')
  })

  test('say of a revision that its replicas speak HTTP/2, and nothing of others', () => {
    const { template } = second
    const containers = template.containers.map((container) => ({
      ...container,
      ports: [{ port: 8080, protocol: 'h2c' as const }],
    }))
    const http2 = { ...second, template: { ...template, containers } }
    const traffic = [
      { revision: 'hello-00001', percent: 50, tag: null },
      { revision: 'hello-00002', percent: 50, tag: null },
    ]
    const revisions = [aRevision(), http2]
    const routes = buildRoutes(routed({ service: aService({ traffic }), revisions }), 'localhost')
    expect(routes.revisions.map(({ protocol }) => protocol)).toEqual([undefined, 'h2c'])
  })

  test('carry only replicas that serve', () => {
    const frozen = aReplica({ id: 'rep-2' as ReplicaId, rung: 'frozen', serving: false })
    const routes = buildRoutes(routed({ replicas: [aReplica(), frozen] }), 'localhost')
    expect(routes.revisions[0]?.replicas.map((replica) => replica.id)).toEqual(['rep-1'])
  })

  test('leave out a replica that is not ready, and say why nobody answers', () => {
    const unready = aReplica({ reason: 'ProbeFailed', message: 'status 503' })
    const alone = buildRoutes(routed({ replicas: [unready] }), 'localhost')
    expect(alone.revisions[0]).toMatchObject({ replicas: [], lateBecause: 'ProbeFailed' })
    const other = aReplica({ id: 'rep-2' as ReplicaId })
    const [beside] = buildRoutes(routed({ replicas: [unready, other] }), 'localhost').revisions
    expect(beside?.replicas.map((replica) => replica.id)).toEqual(['rep-2'])
    expect(beside).not.toHaveProperty('lateBecause')
  })

  test('name the replicas whose node is down as lost, whatever has become of them, also without traffic', () => {
    const lost = [
      aReplica({ id: 'rep-2' as ReplicaId, revisionUid: second.uid, serving: false }),
      aReplica({ id: 'rep-3' as ReplicaId, revisionUid: second.uid, serving: false, state: 'failed' }),
      aReplica({ id: 'rep-4' as ReplicaId, revisionUid: second.uid, serving: false, rung: 'frozen' }),
    ]
    const replicas = [aReplica({ serving: false, nodeUid: 'nod-2' as NodeUid }), ...lost]
    const [first, other] = buildRoutes(
      routed({ replicas, isDown: (node) => node === 'nod-1' }),
      'localhost',
    ).revisions
    expect(first).toMatchObject({ uid: 'rev-1', replicas: [] })
    expect(first).not.toHaveProperty('lost')
    expect(other).toMatchObject({ uid: 'rev-2', lost: ['rep-2', 'rep-3'] })
  })

  test('name the replicas that are retired, and not those that step down', () => {
    const retired = aReplica({ id: 'rep-2' as ReplicaId, state: 'draining', serving: false })
    const frozen = aReplica({ id: 'rep-3' as ReplicaId, rung: 'frozen', serving: false })
    const replicas = [aReplica(), retired, frozen]
    expect(buildRoutes(routed({ replicas }), 'localhost').revisions[0]?.leaving).toEqual(['rep-2'])
    expect(buildRoutes(routed(), 'localhost').revisions[0]).not.toHaveProperty('leaving')
  })

  test('keep a revision without traffic, and one of a service that is being deleted, while replicas leave', () => {
    const retired = aReplica({ revisionUid: second.uid, state: 'draining', serving: false })
    const replicas = [aReplica({ id: 'rep-0' as ReplicaId }), retired]
    const routes = buildRoutes(routed({ replicas }), 'localhost')
    expect(routes.hosts.flatMap(({ targets }) => targets)).toEqual([{ revision: 'rev-1', percent: 100 }])
    expect(routes.revisions).toMatchObject([
      { uid: 'rev-1' },
      { uid: 'rev-2', replicas: [], leaving: ['rep-1'] },
    ])
    const deleted = buildRoutes(routed({ replicas, service: aService({ deleting: true }) }), 'localhost')
    expect(deleted).toMatchObject({ hosts: [], revisions: [{ uid: 'rev-2', leaving: ['rep-1'] }] })
  })

  describe('at maxScale 1', () => {
    const service = aService({ maxScale: 1 })
    const atMaxScale = (...replicas: ReplicaView[]) =>
      buildRoutes(routed({ service, replicas }), 'localhost').revisions[0]?.atMaxScale

    test('say that no further replica will come once the only one serves', () => {
      expect(atMaxScale(aReplica())).toBe(true)
    })

    test('promise one while the only one starts, is frozen or parked, or serves no more', () => {
      expect(atMaxScale(aReplica({ state: 'starting', serving: false }))).toBe(false)
      expect(atMaxScale(aReplica({ rung: 'frozen', serving: false }))).toBe(false)
      expect(atMaxScale(aReplica({ rung: 'parked', serving: false }))).toBe(false)
      expect(atMaxScale(aReplica({ state: 'draining' }))).toBe(false)
    })

    test('count no parked replica, but those of other revisions', () => {
      const other = { id: 'rep-2' as ReplicaId, serving: false }
      expect(atMaxScale(aReplica(), aReplica({ ...other, rung: 'parked' }))).toBe(true)
      expect(atMaxScale(aReplica(), aReplica({ ...other, revisionUid: second.uid, state: 'starting' }))).toBe(
        true,
      )
      expect(atMaxScale(aReplica({ revisionUid: second.uid }))).toBe(false)
    })

    test('promise another one below it', () => {
      const routes = buildRoutes(routed({ service: aService({ maxScale: 2 }) }), 'localhost')
      expect(routes.revisions[0]?.atMaxScale).toBe(false)
    })
  })

  test('let a request wait three and a half mean starts, at least 10 s', () => {
    expect(buildRoutes(routed(), 'localhost').revisions[0]?.queueDeadlineMs).toBe(10_000)
    const slow = aRevision({ startMs: { cold: 8000 } })
    expect(buildRoutes(routed({ revisions: [slow] }), 'localhost').revisions[0]?.queueDeadlineMs).toBe(28_000)
  })

  test('are gone while the service is being deleted', () => {
    const routes = buildRoutes(routed({ service: aService({ deleting: true }) }), 'localhost')
    expect(routes).toMatchObject({ hosts: [], revisions: [] })
  })
})
