import {
  revisionName,
  type DeploymentId,
  type DeploymentPhase,
  type DeploymentTrigger,
  type NodeReachability,
  type NodeScheduling,
  type NodeUid,
  type PlacementStrategy,
  type ProjectUid,
  type ReplicaId,
  type ReplicaState,
  type RevisionTemplate,
  type RevisionUid,
  type RolloutProgress,
  type RolloutSettings,
  type Rung,
  type ServiceUid,
  type TrafficTarget,
} from '@berth/contracts'
import { and, asc, desc, eq, inArray, isNull, ne, or, sql } from 'drizzle-orm'
import type { Executor, Transaction } from '../connection.ts'
import { withTransaction } from '../connection.ts'
import * as schema from '../schema.ts'
import { readServiceVolumes, type ServiceVolume } from './volumes.ts'
import { diskFreeRatio, nodeCapacity } from './node-capacity.ts'

/*
 * Everything that one reconcile pass looks at, read in one repeatable-read transaction, so that a plan is never
 * made from two moments.
 */

export type ServiceFacts = {
  uid: ServiceUid
  projectUid: ProjectUid
  name: string
  generation: number
  template: RevisionTemplate
  minScale: number
  maxScale: number
  traffic: TrafficTarget[]
  rollout: RolloutSettings
  pinnedRevision: string | null
  deletedAt: Date | null
}

export type StatusFacts = {
  observedGeneration: number
  ready: schema.Condition | null
  latestCreatedRevision: string | null
  latestReadyRevision: string | null
  traffic: TrafficTarget[]
}

export type DeploymentFacts = {
  id: DeploymentId
  generation: number
  trigger: DeploymentTrigger
  /** How the revision that it makes is to be called; null: by its number. */
  revisionSuffix: string | null
  cancelRequestedAt: Date | null
  abortRequestedAt: Date | null
  pausedAt: Date | null
  /** The percent that somebody asked to leave for the next step, and the one to go straight to. */
  promoteFrom: number | null
  promoteTo: number | null
  revisionUid: RevisionUid | null
  revisionName: string | null
  phase: DeploymentPhase
  /** Null until the traffic begins to shift. */
  rollout: RolloutProgress | null
  reason: string | null
  message: string | null
  /** What the leader has seen of its revision. */
  trouble: schema.RolloutTrouble | null
  rolledBack: schema.RolloutTrouble | null
  startedAt: Date
  finishedAt: Date | null
  /** When a worker first looked at it, null while none has. */
  workedOnSince: Date | null
}

export type RevisionFacts = {
  uid: RevisionUid
  number: number
  name: string
  template: RevisionTemplate
  contentHash: string
  imageRepository: string
  imageDigest: string
  architectures: string[]
  createdAt: Date
  readyAt: Date | null
  failure: { reason: string; message: string } | null
}

export type ReplicaFacts = {
  id: ReplicaId
  revisionUid: RevisionUid
  nodeUid: NodeUid
  deploymentId: DeploymentId | null
  /** The replica in whose place it was started. */
  replaces: ReplicaId | null
  state: ReplicaState
  rung: Rung
  createdAt: Date
  readyAt: Date | null
  failedAt: Date | null
  /** When its app ended and was started again, oldest first; RFC 3339. */
  ends: string[]
  reason: string | null
  message: string | null
}

/** `reserved` are sums over the replicas of all services. `capacity` is 0 until the node was seen. */
export type PlaceableNode = {
  uid: NodeUid
  name: string
  pool: string
  strategy: PlacementStrategy
  overcommitCpu: number
  labels: Record<string, string>
  scheduling: NodeScheduling
  reachability: NodeReachability
  capacity: { cpuMillis: number; memoryBytes: number }
  systemReservedBytes: number
  architecture: string | null
  /** 0..1, undefined until it was measured. */
  diskFreeRatio: number | undefined
  reserved: { cpuMillis: number; memoryBytes: number }
  startsUnderWay: number
  /** Which of the revisions' digests the node holds. */
  images: string[]
}

export type ReconcileSnapshot = {
  /** The database's clock. */
  readAt: Date
  service: ServiceFacts
  status: StatusFacts
  /** Not finished, oldest generation first. */
  open: DeploymentFacts[]
  /** The one of the highest generation among the finished ones. */
  lastFinished: DeploymentFacts | null
  /** Those that anything else in here names, and the newest. */
  revisions: RevisionFacts[]
  replicas: ReplicaFacts[]
  volumes: ServiceVolume[]
  nodes: PlaceableNode[]
  /** What every router has acknowledged for the service's own host, by revision uid; null: nothing ever. */
  acknowledged: { revision: RevisionUid; percent: number }[] | null
}

/** Null when the service is not there (any more). */
export async function readReconcileSnapshot(
  db: Executor,
  serviceUid: ServiceUid,
): Promise<ReconcileSnapshot | null> {
  return withTransaction(
    db,
    async (tx) => {
      const head = await readHead(tx, serviceUid)
      if (!head) return null
      const open = await readDeployments(tx, serviceUid, 'open')
      const [lastFinished = null] = await readDeployments(tx, serviceUid, 'last finished')
      const deployments = [...open, ...(lastFinished ? [lastFinished] : [])]
      const replicas = await readReplicas(tx, serviceUid)
      const revisions = await readRevisions(tx, serviceUid, {
        uids: [
          ...replicas.map(({ revisionUid }) => revisionUid),
          ...deployments.flatMap(({ revisionUid }) => revisionUid ?? []),
          ...(head.acknowledged ?? []).map(({ revision }) => revision),
        ],
        names: [
          ...[...head.status.traffic, ...head.service.traffic].map(({ revision }) => revision),
          ...open.flatMap(({ revisionSuffix: suffix }) =>
            suffix === null ? [] : revisionName(head.service.name, suffix),
          ),
          ...[head.service.pinnedRevision, head.status.latestReadyRevision].flatMap((name) => name ?? []),
          ...deployments.flatMap(({ rollout }) => rollout?.previous ?? []),
        ],
      })
      const nodes = await readPlaceableNodes(
        tx,
        revisions.map(({ imageDigest }) => imageDigest),
      )
      const volumes = await readServiceVolumes(tx, serviceUid)
      return { ...head, open, lastFinished, revisions, replicas, volumes, nodes }
    },
    { isolationLevel: 'repeatable read', accessMode: 'read only' },
  )
}

async function readHead(tx: Transaction, serviceUid: ServiceUid) {
  const { services, serviceStatus, serviceRoutes } = schema
  const [row] = await tx
    .select({
      readAt: sql`clock_timestamp()`.mapWith(services.createdAt),
      service: {
        uid: services.uid,
        projectUid: services.projectUid,
        name: services.name,
        generation: services.generation,
        template: services.template,
        minScale: services.minScale,
        maxScale: services.maxScale,
        traffic: services.traffic,
        rollout: services.rollout,
        pinnedRevision: services.pinnedRevision,
        deletedAt: services.deletedAt,
      },
      status: serviceStatus,
      targets: serviceRoutes.targets,
    })
    .from(services)
    .leftJoin(serviceStatus, eq(serviceStatus.serviceUid, services.uid))
    .leftJoin(serviceRoutes, eq(serviceRoutes.serviceUid, services.uid))
    .where(eq(services.uid, serviceUid))
  if (!row) return null
  const status: StatusFacts = {
    observedGeneration: row.status?.observedGeneration ?? 0,
    ready: row.status?.conditions.find(({ type }) => type === 'Ready') ?? null,
    latestCreatedRevision: row.status?.latestCreatedRevision ?? null,
    latestReadyRevision: row.status?.latestReadyRevision ?? null,
    traffic: row.status?.traffic ?? [],
  }
  return {
    readAt: row.readAt,
    service: row.service as ServiceFacts,
    status,
    acknowledged: row.targets as ReconcileSnapshot['acknowledged'],
  }
}

async function readDeployments(
  tx: Transaction,
  serviceUid: ServiceUid,
  which: 'open' | 'last finished',
): Promise<DeploymentFacts[]> {
  const { deployments } = schema
  // Spelt out: drizzle leaves the table off where a statement selects from one only.
  const firstEvent = sql`(select min(event.at) from deployment_events event
    where event.deployment_id = deployments.id and event.phase <> 'queued')`
  const query = tx
    .select({
      id: deployments.id,
      generation: deployments.generation,
      trigger: deployments.trigger,
      revisionSuffix: deployments.revisionSuffix,
      cancelRequestedAt: deployments.cancelRequestedAt,
      abortRequestedAt: deployments.abortRequestedAt,
      pausedAt: deployments.pausedAt,
      promoteFrom: deployments.promoteFrom,
      promoteTo: deployments.promoteTo,
      revisionUid: deployments.revisionUid,
      revisionName: deployments.revisionName,
      phase: deployments.phase,
      rollout: deployments.rollout,
      reason: deployments.reason,
      message: deployments.message,
      trouble: deployments.trouble,
      rolledBack: deployments.rolledBack,
      startedAt: deployments.startedAt,
      finishedAt: deployments.finishedAt,
      workedOnSince: firstEvent.mapWith(deployments.startedAt),
    })
    .from(deployments)
  const rows =
    which === 'open'
      ? await query
          .where(and(eq(deployments.serviceUid, serviceUid), isNull(deployments.finishedAt)))
          .orderBy(asc(deployments.generation), asc(deployments.startedAt), asc(deployments.id))
      : await query
          .where(and(eq(deployments.serviceUid, serviceUid), sql`${deployments.finishedAt} is not null`))
          .orderBy(desc(deployments.generation), desc(deployments.startedAt), desc(deployments.id))
          .limit(1)
  return rows as DeploymentFacts[]
}

async function readReplicas(tx: Transaction, serviceUid: ServiceUid): Promise<ReplicaFacts[]> {
  const { replicas } = schema
  const rows = await tx
    .select({
      id: replicas.id,
      revisionUid: replicas.revisionUid,
      nodeUid: replicas.nodeUid,
      deploymentId: replicas.deploymentId,
      replaces: replicas.replaces,
      state: replicas.state,
      rung: replicas.rung,
      createdAt: replicas.createdAt,
      readyAt: replicas.readyAt,
      failedAt: replicas.failedAt,
      ends: replicas.ends,
      reason: replicas.reason,
      message: replicas.message,
    })
    .from(replicas)
    .where(eq(replicas.serviceUid, serviceUid))
    .orderBy(asc(replicas.createdAt), asc(replicas.id))
  return rows as ReplicaFacts[]
}

async function readRevisions(
  tx: Transaction,
  serviceUid: ServiceUid,
  named: { uids: string[]; names: string[] },
): Promise<RevisionFacts[]> {
  const { revisions } = schema
  const newest = sql`(select max(number) from revisions where service_uid = ${serviceUid})`
  const rows = await tx
    .select({
      uid: revisions.uid,
      number: revisions.number,
      name: revisions.name,
      template: revisions.template,
      contentHash: revisions.contentHash,
      imageRepository: revisions.imageRepository,
      imageDigest: revisions.imageDigest,
      architectures: revisions.architectures,
      createdAt: revisions.createdAt,
      readyAt: revisions.readyAt,
      failure: revisions.failure,
    })
    .from(revisions)
    .where(
      and(
        eq(revisions.serviceUid, serviceUid),
        or(
          inArray(revisions.uid, [...new Set(named.uids)]),
          inArray(revisions.name, [...new Set(named.names)]),
          eq(revisions.number, newest),
        ),
      ),
    )
    .orderBy(asc(revisions.number))
  return rows as RevisionFacts[]
}

/** Nodes that are not being deleted, by name, with which of `digests` they hold. */
export async function readPlaceableNodes(tx: Transaction, digests: string[]): Promise<PlaceableNode[]> {
  const { nodes, nodeStatus, pools, replicas, nodeImages } = schema
  const rows = await tx
    .select({ node: nodes, status: nodeStatus, pool: pools })
    .from(nodes)
    .innerJoin(pools, eq(pools.name, nodes.pool))
    .leftJoin(nodeStatus, eq(nodeStatus.nodeUid, nodes.uid))
    .where(isNull(nodes.deletedAt))
    .orderBy(asc(nodes.name))
  const sums = await tx
    .select({
      nodeUid: replicas.nodeUid,
      // A parked replica reserves nothing (design section 6).
      cpuMillis: sql<number>`coalesce(sum(${replicas.cpuMillis}) filter (where ${replicas.rung} <> 'parked'), 0)::int`,
      memoryBytes:
        sql`coalesce(sum(${replicas.memoryBytes}) filter (where ${replicas.rung} <> 'parked'), 0)`.mapWith(
          Number,
        ),
      startsUnderWay: sql<number>`(count(*) filter (where ${replicas.state} = 'starting'))::int`,
    })
    .from(replicas)
    .where(ne(replicas.state, 'failed'))
    .groupBy(replicas.nodeUid)
  const images = await tx
    .select({ nodeUid: nodeImages.nodeUid, digest: nodeImages.digest })
    .from(nodeImages)
    .where(inArray(nodeImages.digest, [...new Set(digests)]))
  return rows.map(({ node, status, pool }) => {
    const sum = sums.find(({ nodeUid }) => nodeUid === node.uid)
    const { systemReservedBytes, ...capacity } = nodeCapacity(node, status)
    return {
      uid: node.uid as NodeUid,
      name: node.name,
      pool: node.pool,
      strategy: pool.strategy,
      overcommitCpu: pool.overcommitCpu,
      labels: node.labels,
      scheduling: node.scheduling,
      reachability: status?.reachability ?? 'down',
      capacity,
      systemReservedBytes,
      architecture: status?.architecture ?? null,
      diskFreeRatio: diskFreeRatio(status),
      reserved: { cpuMillis: sum?.cpuMillis ?? 0, memoryBytes: sum?.memoryBytes ?? 0 },
      startsUnderWay: sum?.startsUnderWay ?? 0,
      images: images.filter(({ nodeUid }) => nodeUid === node.uid).map(({ digest }) => digest),
    }
  })
}
