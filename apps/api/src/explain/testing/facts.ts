import type { DeploymentId, NodeUid, ProjectUid, ReplicaId, RevisionUid, ServiceUid } from '@berth/contracts'
import type { Condition, desired, RevisionFacts } from '@berth/db'
import { buildTemplate } from '@berth/db/testing'

/** Milliseconds since 1970 at which all facts are read. */
export const readAtMs = 1_800_000_000_000
const ago = (ms: number) => new Date(readAtMs - ms)

/** `hello` with one ready revision that has all the traffic, one running replica, one node of 4Gi. */
export function theFacts(change: Partial<desired.ExplanationFacts> = {}): desired.ExplanationFacts {
  return {
    readAt: new Date(readAtMs),
    service: {
      uid: 'svc-1' as ServiceUid,
      projectUid: 'prj-1' as ProjectUid,
      name: 'hello',
      generation: 1,
      template: buildTemplate(),
      minScale: 0,
      maxScale: 20,
      traffic: [{ revision: 'latest', percent: 100, tag: null }],
      pinnedRevision: null,
      rollout: { strategy: 'immediate' },
      deletedAt: null,
    },
    status: {
      observedGeneration: 1,
      ready: null,
      latestCreatedRevision: 'hello-00001',
      latestReadyRevision: 'hello-00001',
      traffic: [{ revision: 'hello-00001', percent: 100, tag: null }],
    },
    open: null,
    lastFinished: null,
    revisions: [aRevision(1)],
    replicas: [aReplica('rep-1')],
    volumes: [],
    nodes: [aNode('n1')],
    events: [],
    ...change,
  }
}

export function aRevision(number: number, change: Partial<RevisionFacts> = {}): RevisionFacts {
  return {
    uid: `rev-${number}` as RevisionUid,
    number,
    name: `hello-0000${number}`,
    template: buildTemplate(),
    contentHash: `hash-${number}`,
    imageRepository: '127.0.0.1:5050/app',
    imageDigest: `sha256:${number}`,
    architectures: ['amd64'],
    createdAt: ago(90_000),
    readyAt: ago(60_000),
    failure: null,
    ...change,
  }
}

/** Ready and running, of the first revision, on n1. */
export function aReplica(
  id: string,
  change: Partial<desired.ExplainedReplica> = {},
): desired.ExplainedReplica {
  return {
    id: id as ReplicaId,
    revisionUid: 'rev-1' as RevisionUid,
    nodeUid: 'nod-n1' as NodeUid,
    deploymentId: null,
    replaces: null,
    state: 'ready',
    rung: 'running',
    createdAt: ago(60_000),
    readyAt: ago(50_000),
    failedAt: null,
    reason: null,
    message: null,
    ends: [],
    node: 'n1',
    restarts: 0,
    ...change,
  }
}

/** Failed `msAgo` milliseconds before the facts are read. */
export function aFailedReplica(
  id: string,
  msAgo: number,
  change: Partial<desired.ExplainedReplica> = {},
): desired.ExplainedReplica {
  return aReplica(id, {
    state: 'failed',
    readyAt: null,
    failedAt: ago(msAgo),
    reason: 'AppCrashed',
    message: 'the app ended with exit code 2',
    ...change,
  })
}

export function aNode(name: string, change: Partial<desired.ExplainedNode> = {}): desired.ExplainedNode {
  return {
    uid: `nod-${name}` as NodeUid,
    name,
    pool: 'default',
    strategy: 'spread',
    overcommitCpu: 10,
    labels: {},
    scheduling: 'active',
    reachability: 'ready',
    capacity: { cpuMillis: 2000, memoryBytes: 4 * 1024 ** 3 },
    systemReservedBytes: 512 * 1024 ** 2,
    architecture: 'amd64',
    reserved: { cpuMillis: 0, memoryBytes: 0 },
    startsUnderWay: 0,
    images: [],
    diskFreeRatio: undefined,
    message: null,
    lastSeenAt: null,
    ...change,
  }
}

/** Of the second revision, begun 30 s before. */
export function aDeployment(change: Partial<desired.ExplainedDeployment> = {}): desired.ExplainedDeployment {
  return {
    id: 'dep-2' as DeploymentId,
    generation: 2,
    trigger: 'update',
    revisionSuffix: null,
    cancelRequestedAt: null,
    abortRequestedAt: null,
    pausedAt: null,
    promoteFrom: null,
    promoteTo: null,
    rollout: null,
    trouble: null,
    rolledBack: null,
    finishedAt: null,
    revisionUid: 'rev-2' as RevisionUid,
    revisionName: 'hello-00002',
    phase: 'placing',
    reason: null,
    message: null,
    startedAt: ago(30_000),
    workedOnSince: ago(30_000),
    node: null,
    ...change,
  }
}

export function aCondition(change: Partial<Condition> = {}): Condition {
  return {
    type: 'Ready',
    status: 'True',
    reason: 'Serving',
    message: 'hello-00001 serves',
    lastTransitionTime: ago(60_000).toISOString(),
    ...change,
  }
}
