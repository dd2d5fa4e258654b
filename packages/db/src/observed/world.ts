import type {
  DeploymentId,
  IdleSettings,
  NodeReachability,
  NodeScheduling,
  NodeUid,
  PlacementStrategy,
  ProjectUid,
  Reason,
  ReplicaId,
  ReplicaState,
  RevisionTemplate,
  RevisionUid,
  Rung,
  ServiceUid,
  SessionAffinity,
  TrafficTarget,
} from '@berth/contracts'
import { and, eq, inArray, isNull, or, sql } from 'drizzle-orm'
import { withTransaction, type Executor, type Transaction } from '../connection.ts'
import { leaseHeld, requireLease, type LeaseRef } from '../leases.ts'
import { notifyServiceChanged } from '../notify.ts'
import * as schema from '../schema.ts'
import { readServiceVolumes, type ServiceVolume } from './volumes.ts'
import { diskFreeRatio, nodeCapacity } from './node-capacity.ts'

/*
 * What the leader keeps a picture of, read in one repeatable-read transaction: of all services, or of one.
 */

export type WorldService = {
  uid: ServiceUid
  projectUid: ProjectUid
  project: string
  name: string
  generation: number
  minScale: number
  maxScale: number
  idle: IdleSettings
  sessionAffinity: SessionAffinity
  deleting: boolean
  /** What is to be routed, by the reconciler's word: names of revisions, tags beside them. */
  traffic: TrafficTarget[]
  /** Whether a deployment is under way: its failed starts are the reconciler's. */
  deploying: boolean
  volumes: ServiceVolume[]
}

export type WorldRevision = {
  uid: RevisionUid
  serviceUid: ServiceUid
  name: string
  template: RevisionTemplate
  imageRepository: string
  imageDigest: string
  architectures: string[]
  ready: boolean
  failure: { reason: string; message: string } | null
  startMs: { cold?: number; parked?: number; frozen?: number }
}

export type WorldReplica = {
  id: ReplicaId
  serviceUid: ServiceUid
  projectUid: ProjectUid
  revisionUid: RevisionUid
  nodeUid: NodeUid
  deploymentId: DeploymentId | null
  /** The replica of a node that is drained in whose place it was started. */
  replaces: ReplicaId | null
  state: ReplicaState
  rung: Rung
  address: string
  hostPort: number
  cpuMillis: number
  memoryBytes: number
  createdAt: Date
  readyAt: Date | null
  drainingAt: Date | null
  failedAt: Date | null
  restarts: number
  /** When its app ended and was started again, those in a row, oldest first; RFC 3339. */
  ends: string[]
  reason: Reason | null
  message: string | null
  containers: { sandbox?: string; app?: string }
}

export type WorldNode = {
  uid: NodeUid
  name: string
  endpoint: string
  address: string
  pool: string
  strategy: PlacementStrategy
  overcommitCpu: number
  labels: Record<string, string>
  scheduling: NodeScheduling
  reachability: NodeReachability
  cpuMillis: number
  memoryBytes: number
  systemReservedBytes: number
  architecture: string | null
  /** 0..1, undefined until it was measured. */
  diskFreeRatio: number | undefined
  honestPorts: boolean
}

export type WorldRows = {
  services: WorldService[]
  /** Those that have traffic, a tag or a replica. */
  revisions: WorldRevision[]
  replicas: WorldReplica[]
  nodes: WorldNode[]
}

/** Everything, or with `only` the rows of one service; nodes always all. */
export async function readWorld(db: Executor, only?: ServiceUid): Promise<WorldRows> {
  return withTransaction(
    db,
    async (tx) => {
      const services = await readServices(tx, only)
      const replicas = await readReplicas(tx, only)
      return {
        services,
        replicas,
        revisions: await readRevisions(tx, services, replicas, only),
        nodes: await readNodes(tx),
      }
    },
    { isolationLevel: 'repeatable read', accessMode: 'read only' },
  )
}

async function readServices(tx: Transaction, only?: ServiceUid): Promise<WorldService[]> {
  const { services, projects, serviceStatus, deployments } = schema
  const rows = await tx
    .select({
      service: services,
      project: projects.name,
      traffic: serviceStatus.traffic,
      deploying: sql<boolean>`exists (select 1 from ${deployments}
        where ${and(eq(deployments.serviceUid, services.uid), isNull(deployments.finishedAt))})`,
    })
    .from(services)
    .innerJoin(projects, eq(projects.uid, services.projectUid))
    .leftJoin(serviceStatus, eq(serviceStatus.serviceUid, services.uid))
    .where(only === undefined ? undefined : eq(services.uid, only))
  const volumes = Map.groupBy(await readServiceVolumes(tx, only), ({ serviceUid }) => serviceUid)
  return rows.map(({ service, project, traffic, deploying }) => ({
    uid: service.uid as ServiceUid,
    projectUid: service.projectUid as ProjectUid,
    project,
    name: service.name,
    generation: service.generation,
    minScale: service.minScale,
    maxScale: service.maxScale,
    idle: service.idle,
    sessionAffinity: service.sessionAffinity,
    deleting: service.deletedAt !== null,
    traffic: traffic ?? [],
    deploying,
    volumes: volumes.get(service.uid as ServiceUid) ?? [],
  }))
}

async function readReplicas(tx: Transaction, only?: ServiceUid): Promise<WorldReplica[]> {
  const { replicas, replicaContainers } = schema
  const containers = sql<Record<string, string>>`coalesce((
    select jsonb_object_agg(c.name, c.container_id) from ${replicaContainers} c
    where c.replica_id = ${replicas.id}), '{}')`
  const rows = await tx
    .select({ replica: replicas, containers })
    .from(replicas)
    .where(only === undefined ? undefined : eq(replicas.serviceUid, only))
  return rows.map(({ replica, containers }) => ({
    id: replica.id as ReplicaId,
    serviceUid: replica.serviceUid as ServiceUid,
    projectUid: replica.projectUid as ProjectUid,
    revisionUid: replica.revisionUid as RevisionUid,
    nodeUid: replica.nodeUid as NodeUid,
    deploymentId: replica.deploymentId as DeploymentId | null,
    replaces: replica.replaces as ReplicaId | null,
    state: replica.state,
    rung: replica.rung,
    address: replica.address,
    hostPort: replica.hostPort,
    cpuMillis: replica.cpuMillis,
    memoryBytes: replica.memoryBytes,
    createdAt: replica.createdAt,
    readyAt: replica.readyAt,
    drainingAt: replica.drainingAt,
    failedAt: replica.failedAt,
    restarts: replica.restarts,
    ends: replica.ends,
    reason: replica.reason as Reason | null,
    message: replica.message,
    containers,
  }))
}

async function readRevisions(
  tx: Transaction,
  services: readonly WorldService[],
  replicas: readonly WorldReplica[],
  only?: ServiceUid,
): Promise<WorldRevision[]> {
  const { revisions } = schema
  const names = [...new Set(services.flatMap(({ traffic }) => traffic.map(({ revision }) => revision)))]
  const uids = [...new Set(replicas.map(({ revisionUid }) => revisionUid))]
  if (names.length + uids.length === 0) return []
  const named = or(
    names.length > 0 ? inArray(revisions.name, names) : undefined,
    uids.length > 0 ? inArray(revisions.uid, uids) : undefined,
  )
  const rows = await tx
    .select({
      uid: revisions.uid,
      serviceUid: revisions.serviceUid,
      name: revisions.name,
      template: revisions.template,
      imageRepository: revisions.imageRepository,
      imageDigest: revisions.imageDigest,
      architectures: revisions.architectures,
      readyAt: revisions.readyAt,
      failure: revisions.failure,
      startMs: revisions.startMs,
    })
    .from(revisions)
    .where(and(named, only === undefined ? undefined : eq(revisions.serviceUid, only)))
  return rows.map(({ readyAt, ...row }) => ({
    ...row,
    uid: row.uid as RevisionUid,
    serviceUid: row.serviceUid as ServiceUid,
    ready: readyAt !== null,
  }))
}

async function readNodes(tx: Transaction): Promise<WorldNode[]> {
  const { nodes, nodeStatus, pools } = schema
  const rows = await tx
    .select({ node: nodes, status: nodeStatus, pool: pools })
    .from(nodes)
    .innerJoin(pools, eq(pools.name, nodes.pool))
    .leftJoin(nodeStatus, eq(nodeStatus.nodeUid, nodes.uid))
  return rows.map(({ node, status, pool }) => ({
    uid: node.uid as NodeUid,
    name: node.name,
    endpoint: node.endpoint,
    address: node.address,
    pool: node.pool,
    strategy: pool.strategy,
    overcommitCpu: pool.overcommitCpu,
    labels: node.labels,
    // A node that was asked to go takes nothing new while its replicas leave.
    scheduling: node.deletedAt === null ? node.scheduling : 'draining',
    reachability: status?.reachability ?? 'down',
    ...nodeCapacity(node, status),
    architecture: status?.architecture ?? null,
    diskFreeRatio: diskFreeRatio(status),
    honestPorts: status?.honestPorts ?? false,
  }))
}

/** The revision's variables, sealed for `revision:<uid>:env`; null when it is gone. */
export async function readRevisionEnvironment(db: Executor, uid: RevisionUid): Promise<Buffer | null> {
  const { revisions } = schema
  const rows = await db.select({ env: revisions.env }).from(revisions).where(eq(revisions.uid, uid))
  return rows[0]?.env ?? null
}

/** What a revision's starts have shown. No effect when the lease is lost. */
export async function writeStartTimes(
  db: Executor,
  lease: LeaseRef,
  uid: RevisionUid,
  startMs: WorldRevision['startMs'],
): Promise<void> {
  const { revisions } = schema
  await db
    .update(revisions)
    .set({ startMs })
    .where(and(eq(revisions.uid, uid), leaseHeld(lease)))
}

/** Why a revision has no replica although it should, null when it has. Throws `LeaseLostError`. */
export async function writeRevisionFailure(
  db: Executor,
  lease: LeaseRef,
  uid: RevisionUid,
  failure: WorldRevision['failure'],
): Promise<void> {
  const { revisions } = schema
  await withTransaction(db, async (tx) => {
    await requireLease(tx, lease)
    const [row] = await tx
      .update(revisions)
      .set({ failure })
      .where(eq(revisions.uid, uid))
      .returning({ serviceUid: revisions.serviceUid })
    if (row) await notifyServiceChanged(tx, row.serviceUid)
  })
}

/** Every login of every project, sealed as `registryPasswordPurpose` says. */
export async function readRegistryLogins(
  db: Executor,
  projectUid: ProjectUid,
): Promise<{ host: string; username: string; password: Buffer }[]> {
  const { registries } = schema
  return db
    .select({ host: registries.host, username: registries.username, password: registries.password })
    .from(registries)
    .where(eq(registries.projectUid, projectUid))
}
