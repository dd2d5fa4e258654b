import type { HostRoute, ReplicaRoute, RevisionRoute, RouteSnapshot } from '@berth/contracts'

export const testInstallation = 'test-router'

export function aReplica(id: string, port = 1): ReplicaRoute {
  return { id, node: 'n1', address: '127.0.0.1', port }
}

export function aRevision(changes: Partial<RevisionRoute> = {}): RevisionRoute {
  return {
    uid: 'rev-1',
    name: 'hello-00001',
    project: 'default',
    service: 'hello',
    serviceUid: 'svc-1',
    concurrency: 80,
    timeoutMs: 30_000,
    queueDeadlineMs: 10_000,
    atMaxScale: false,
    blocked: null,
    replicas: [],
    ...changes,
  }
}

export function aHost(changes: Partial<HostRoute> = {}): HostRoute {
  return {
    host: 'hello.localhost',
    project: 'default',
    service: 'hello',
    serviceUid: 'svc-1',
    targets: [{ revision: 'rev-1', percent: 100 }],
    ...changes,
  }
}

export function aSnapshot(changes: Partial<RouteSnapshot> = {}): RouteSnapshot {
  return {
    kind: 'snapshot',
    installation: testInstallation,
    version: { epoch: 1, sequence: 1 },
    hosts: [aHost()],
    revisions: [aRevision()],
    ...changes,
  }
}
