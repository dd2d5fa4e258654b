import type { DeploymentId, NodeUid, ProjectUid, ReplicaId, RevisionUid, ServiceUid } from '@berth/contracts'
import type {
  DeploymentFacts,
  PlaceableNode,
  ReconcileSnapshot,
  ReplicaFacts,
  RevisionFacts,
} from '@berth/db'

/** Milliseconds since 1970 at which every built snapshot is read. */
export const readAtMs = 1_800_000_000_000

const mebibyte = 1024 ** 2
const agoMs = (ms: number) => new Date(readAtMs - ms)

/** A service without deployments on one empty node of 4Gi. */
export function aSnapshot(change: Partial<ReconcileSnapshot> = {}): ReconcileSnapshot {
  return {
    readAt: new Date(readAtMs),
    service: aService(),
    status: {
      observedGeneration: 0,
      ready: null,
      latestCreatedRevision: null,
      latestReadyRevision: null,
      traffic: [],
    },
    open: [],
    lastFinished: null,
    revisions: [],
    replicas: [],
    volumes: [],
    nodes: [aNode('n1')],
    acknowledged: null,
    ...change,
  }
}

export function aService(change: Partial<ReconcileSnapshot['service']> = {}): ReconcileSnapshot['service'] {
  return {
    uid: 'svc-1' as ServiceUid,
    projectUid: 'prj-1' as ProjectUid,
    name: 'hello',
    generation: 1,
    template: aRevision(1).template,
    minScale: 0,
    maxScale: 20,
    traffic: [{ revision: 'latest', percent: 100, tag: null }],
    rollout: { strategy: 'immediate' },
    pinnedRevision: null,
    deletedAt: null,
    ...change,
  }
}

/** Revision `number` serves, and every router knows. */
export function serving(number: number, change: Partial<ReconcileSnapshot> = {}): ReconcileSnapshot {
  const revision = aRevision(number, { readyAt: agoMs(60_000) })
  return aSnapshot({
    status: {
      observedGeneration: 1,
      ready: null,
      latestCreatedRevision: revision.name,
      latestReadyRevision: revision.name,
      traffic: [{ revision: revision.name, percent: 100, tag: null }],
    },
    revisions: [revision],
    replicas: [aReplica(`of-${number}`, number)],
    acknowledged: [{ revision: revision.uid, percent: 100 }],
    ...change,
  })
}

export const revisionUid = (number: number) => `rev-${number}` as RevisionUid
export const revisionName = (number: number) => `hello-${String(number).padStart(5, '0')}`

export function aRevision(number: number, change: Partial<RevisionFacts> = {}): RevisionFacts {
  return {
    uid: revisionUid(number),
    number,
    name: revisionName(number),
    template: {
      kind: 'http',
      containers: [
        {
          name: 'app',
          image: '127.0.0.1:5050/hello:1',
          command: [],
          args: [],
          ports: [{ port: 8080, protocol: 'http1' }],
          resources: { cpu: 100, memory: 512 * mebibyte },
        },
      ],
      concurrency: 80,
      timeoutSeconds: 300,
      pool: 'default',
      nodeSelector: {},
    },
    contentHash: `hash-${number}`,
    imageRepository: '127.0.0.1:5050/hello',
    imageDigest: `sha256:${number}`,
    architectures: ['amd64'],
    createdAt: agoMs(90_000),
    readyAt: null,
    failure: null,
    ...change,
  }
}

/** An update that a worker looked at a second ago, with the revision of its generation. */
export function aDeployment(generation: number, change: Partial<DeploymentFacts> = {}): DeploymentFacts {
  return {
    id: `dep-${generation}` as DeploymentId,
    generation,
    trigger: 'update',
    revisionSuffix: null,
    cancelRequestedAt: null,
    abortRequestedAt: null,
    pausedAt: null,
    promoteFrom: null,
    promoteTo: null,
    revisionUid: revisionUid(generation),
    revisionName: revisionName(generation),
    phase: 'placing',
    rollout: null,
    trouble: null,
    rolledBack: null,
    finishedAt: null,
    reason: null,
    message: null,
    startedAt: agoMs(1_000),
    workedOnSince: agoMs(1_000),
    ...change,
  }
}

/** A ready, running replica on n1. */
export function aReplica(id: string, revision: number, change: Partial<ReplicaFacts> = {}): ReplicaFacts {
  return {
    id: id as ReplicaId,
    revisionUid: revisionUid(revision),
    nodeUid: 'nod-n1' as NodeUid,
    deploymentId: `dep-${revision}` as DeploymentId,
    replaces: null,
    state: 'ready',
    rung: 'running',
    createdAt: agoMs(50_000),
    readyAt: agoMs(49_000),
    failedAt: null,
    ends: [],
    reason: null,
    message: null,
    ...change,
  }
}

/** A start that failed `ago` milliseconds before the snapshot. */
export function aFailure(id: string, revision: number, ago: number, reason = 'AppCrashed'): ReplicaFacts {
  return aReplica(id, revision, {
    state: 'failed',
    readyAt: null,
    failedAt: agoMs(ago),
    reason,
    message: `${reason} it was`,
  })
}

export function aNode(name: string, change: Partial<PlaceableNode> = {}): PlaceableNode {
  return {
    uid: `nod-${name}` as NodeUid,
    name,
    pool: 'default',
    strategy: 'spread',
    overcommitCpu: 10,
    labels: {},
    scheduling: 'active',
    reachability: 'ready',
    capacity: { cpuMillis: 2000, memoryBytes: 4096 * mebibyte },
    systemReservedBytes: 512 * mebibyte,
    architecture: 'amd64',
    diskFreeRatio: undefined,
    reserved: { cpuMillis: 0, memoryBytes: 0 },
    startsUnderWay: 0,
    images: [],
    ...change,
  }
}
