import type { NodeUid, ProjectUid, ReplicaId, RevisionUid, ServiceUid } from '@berth/contracts'
import type { World } from '../ports.ts'
import type { NodeView, ReplicaView, RevisionView, ServiceView } from '../world-model.ts'

/*
 * Builders for tests of the leader: each gives a plain example, and takes what the test is about.
 */

export function aService(change: Partial<ServiceView> = {}): ServiceView {
  return {
    uid: 'svc-1' as ServiceUid,
    projectUid: 'prj-1' as ProjectUid,
    project: 'default',
    name: 'hello',
    generation: 1,
    minScale: 0,
    maxScale: 20,
    idle: { freezeAfterSeconds: 30, parkAfterSeconds: 900, coldAfterSeconds: 86_400 },
    sessionAffinity: 'none',
    deleting: false,
    volumes: [],
    traffic: [{ revision: 'hello-00001', percent: 100, tag: null }],
    ...change,
  }
}

export function aRevision(change: Partial<RevisionView> = {}): RevisionView {
  return {
    uid: 'rev-1' as RevisionUid,
    serviceUid: 'svc-1' as ServiceUid,
    name: 'hello-00001',
    template: {
      kind: 'http',
      containers: [
        {
          name: 'app',
          image: '127.0.0.1:5050/hello:1',
          command: [],
          args: [],
          ports: [{ port: 8080, protocol: 'http1' }],
          resources: { cpu: 1000, memory: 64 * 1024 ** 2 },
        },
      ],
      concurrency: 80,
      timeoutSeconds: 300,
      pool: 'default',
      nodeSelector: {},
    },
    imageRepository: '127.0.0.1:5050/hello',
    imageDigest: `sha256:${'a'.repeat(64)}`,
    architectures: ['amd64'],
    ready: true,
    failure: null,
    startMs: {},
    ...change,
  }
}

export function aReplica(change: Partial<ReplicaView> = {}): ReplicaView {
  return {
    id: 'rep-1' as ReplicaId,
    serviceUid: 'svc-1' as ServiceUid,
    projectUid: 'prj-1' as ProjectUid,
    revisionUid: 'rev-1' as RevisionUid,
    nodeUid: 'nod-1' as NodeUid,
    deploymentId: null,
    replaces: null,
    state: 'ready',
    rung: 'running',
    address: '127.0.0.1',
    hostPort: 20_000,
    cpuMillis: 1000,
    memoryBytes: 64 * 1024 ** 2,
    createdAt: new Date(0),
    readyAt: new Date(0),
    drainingAt: null,
    failedAt: null,
    restarts: 0,
    ends: [],
    reason: null,
    message: null,
    containers: {},
    serving: true,
    held: false,
    ...change,
  }
}

export function aNode(change: Partial<NodeView> = {}): NodeView {
  return {
    uid: 'nod-1' as NodeUid,
    name: 'n1',
    endpoint: 'unix:///var/run/docker.sock',
    address: '127.0.0.1',
    pool: 'default',
    strategy: 'spread',
    overcommitCpu: 10,
    labels: {},
    scheduling: 'active',
    reachability: 'ready',
    cpuMillis: 2000,
    memoryBytes: 4 * 1024 ** 3,
    systemReservedBytes: 512 * 1024 ** 2,
    architecture: 'amd64',
    diskFreeRatio: undefined,
    honestPorts: true,
    ...change,
  }
}

export type PictureParts = {
  services?: ServiceView[]
  revisions?: RevisionView[]
  replicas?: ReplicaView[]
  nodes?: NodeView[]
}

/** A picture in memory with nothing behind it. `put` changes what it shows, as a refresh would. */
export function aWorld(parts: PictureParts = {}): World & { put(next: PictureParts): void } {
  const services = new Map<ServiceUid, ServiceView>()
  const revisions = new Map<RevisionUid, RevisionView>()
  const replicas = new Map<ReplicaId, ReplicaView>()
  const nodes = new Map<string, NodeView>()
  const listeners = new Set<(change: { services: ServiceUid[] }) => void>()
  function put(next: PictureParts): void {
    for (const service of next.services ?? []) services.set(service.uid, service)
    for (const revision of next.revisions ?? []) revisions.set(revision.uid, revision)
    for (const replica of next.replicas ?? []) replicas.set(replica.id, replica)
    for (const node of next.nodes ?? []) nodes.set(node.uid, node)
  }
  put(parts)
  return {
    services,
    revisions,
    replicas,
    nodes,
    put,
    replicasOfRevision: (uid) => [...replicas.values()].filter((replica) => replica.revisionUid === uid),
    replicasOfService: (uid) => [...replicas.values()].filter((replica) => replica.serviceUid === uid),
    updateReplica(id, change) {
      const replica = replicas.get(id)
      if (!replica) return
      replicas.set(id, { ...replica, ...change })
      for (const listener of listeners) listener({ services: [replica.serviceUid] })
    },
    onChange(listener) {
      listeners.add(listener)
      return () => listeners.delete(listener)
    },
  }
}
