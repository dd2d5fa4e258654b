import {
  defaultRevisionHistory,
  deploymentPhases,
  deploymentTriggers,
  newId,
  nodeReachability,
  nodeScheduling,
  placementStrategies,
  replicaStates,
  rungs,
  serviceEventKinds,
  sessionAffinities,
  type IdleSettings,
  type Reason,
  type RevisionTemplate,
  type RolloutProgress,
  type RolloutSettings,
  type TrafficTarget,
} from '@berth/contracts'
import { sql } from 'drizzle-orm'
import {
  bigint,
  bigserial,
  boolean,
  customType,
  index,
  integer,
  jsonb,
  pgTable,
  primaryKey,
  real,
  text,
  timestamp,
  unique,
  uniqueIndex,
} from 'drizzle-orm/pg-core'

/*
 * Desired and observed state have tables of their own: the API writes `services`, `nodes`, `pools` and the
 * request columns of `deployments`; workers write everything named *_status, `replicas` and what hangs on them.
 * Rows a worker writes carry the epoch of the lease it wrote under.
 */

/** Encrypted with a data key of its own, wrapped by the master key (see `sealed.ts`). */
const sealed = customType<{ data: Buffer; driverData: Buffer }>({ dataType: () => 'bytea' })
const instant = (name: string) => timestamp(name, { withTimezone: true, mode: 'date', precision: 3 })
const createdAt = () => instant('created_at').notNull().defaultNow()
const bytes = (name: string) => bigint(name, { mode: 'number' })

export const projects = pgTable('projects', {
  uid: text('uid').primaryKey(),
  name: text('name').notNull().unique(),
  createdAt: createdAt(),
})

export const pools = pgTable('pools', {
  name: text('name').primaryKey(),
  uid: text('uid')
    .notNull()
    .unique()
    .$defaultFn(() => newId('PoolUid')),
  generation: integer('generation').notNull().default(1),
  strategy: text('strategy', { enum: placementStrategies }).notNull().default('spread'),
  /** How many times the cores of a node may be promised. */
  overcommitCpu: real('overcommit_cpu').notNull().default(10),
  labels: jsonb('labels').$type<Record<string, string>>().notNull().default({}),
  createdAt: createdAt(),
  updatedAt: instant('updated_at').notNull().defaultNow(),
})

/** Desired: what the platform team registered. */
export const nodes = pgTable('nodes', {
  uid: text('uid').primaryKey(),
  name: text('name').notNull().unique(),
  generation: integer('generation').notNull().default(1),
  endpoint: text('endpoint').notNull(),
  /** Where replicas are published and reached. */
  address: text('address').notNull(),
  pool: text('pool')
    .notNull()
    .references(() => pools.name),
  labels: jsonb('labels').$type<Record<string, string>>().notNull().default({}),
  /** JSON {ca, cert, key}, sealed. */
  tls: sealed('tls'),
  scheduling: text('scheduling', { enum: nodeScheduling }).notNull().default('active'),
  capacity: jsonb('capacity').$type<{ cpuMillis: number; memoryBytes: number } | null>(),
  systemReservedBytes: bytes('system_reserved_bytes'),
  /** Null unless it is drained. */
  drainStartedAt: instant('drain_started_at'),
  /** How many replicas it held then. */
  drainTotal: integer('drain_total'),
  deletedAt: instant('deleted_at'),
  createdAt: createdAt(),
  updatedAt: instant('updated_at').notNull().defaultNow(),
})

/** Observed by the leader. */
export const nodeStatus = pgTable('node_status', {
  nodeUid: text('node_uid')
    .primaryKey()
    .references(() => nodes.uid, { onDelete: 'cascade' }),
  reachability: text('reachability', { enum: nodeReachability }).notNull().default('down'),
  message: text('message'),
  cpuMillis: integer('cpu_millis'),
  memoryBytes: bytes('memory_bytes'),
  engineId: text('engine_id'),
  machineId: text('machine_id'),
  engineVersion: text('engine_version'),
  apiVersion: text('api_version'),
  architecture: text('architecture'),
  /** False where a connect to a published port succeeds although nothing listens behind it. */
  honestPorts: boolean('honest_ports'),
  /** Of the file system that holds the engine's images; null until it was measured. */
  diskTotalBytes: bytes('disk_total_bytes'),
  diskFreeBytes: bytes('disk_free_bytes'),
  diskAt: instant('disk_at'),
  lastSeenAt: instant('last_seen_at'),
  epoch: bigint('epoch', { mode: 'number' }).notNull().default(0),
})

/** Desired. `generation` grows with every accepted change, `templateGeneration` with every one that deploys. */
export const services = pgTable(
  'services',
  {
    uid: text('uid').primaryKey(),
    projectUid: text('project_uid')
      .notNull()
      .references(() => projects.uid),
    name: text('name').notNull(),
    generation: integer('generation').notNull().default(1),
    template: jsonb('template').$type<RevisionTemplate>().notNull(),
    /** JSON object of the environment's values, sealed. */
    env: sealed('env').notNull(),
    minScale: integer('min_scale').notNull(),
    maxScale: integer('max_scale').notNull(),
    idle: jsonb('idle').$type<IdleSettings>().notNull(),
    traffic: jsonb('traffic').$type<TrafficTarget[]>().notNull(),
    /** A rollback's pin, in force until the next deployment; takes the place of `traffic`. */
    pinnedRevision: text('pinned_revision'),
    rollout: jsonb('rollout').$type<RolloutSettings>().notNull(),
    /** So many of the newest revisions are kept, and those in use. */
    revisionHistoryLimit: integer('revision_history_limit').notNull().default(defaultRevisionHistory),
    sessionAffinity: text('session_affinity', { enum: sessionAffinities }).notNull().default('none'),
    labels: jsonb('labels').$type<Record<string, string>>().notNull(),
    annotations: jsonb('annotations').$type<Record<string, string>>().notNull(),
    createdBy: text('created_by').notNull(),
    createdAt: createdAt(),
    updatedAt: instant('updated_at').notNull().defaultNow(),
    deletedAt: instant('deleted_at'),
  },
  (table) => [
    unique('services_project_name').on(table.projectUid, table.name),
    index('services_deleted')
      .on(table.deletedAt)
      .where(sql`deleted_at is not null`),
  ],
)

export type Condition = {
  type: 'Ready'
  status: 'True' | 'False' | 'Unknown'
  reason: string
  message: string
  lastTransitionTime: string
}

/** Observed by the worker that reconciles the service. */
export const serviceStatus = pgTable('service_status', {
  serviceUid: text('service_uid')
    .primaryKey()
    .references(() => services.uid, { onDelete: 'cascade' }),
  observedGeneration: integer('observed_generation').notNull().default(0),
  conditions: jsonb('conditions').$type<Condition[]>().notNull().default([]),
  latestCreatedRevision: text('latest_created_revision'),
  latestReadyRevision: text('latest_ready_revision'),
  /** What is really routed: names of revisions, never "latest". */
  traffic: jsonb('traffic').$type<TrafficTarget[]>().notNull().default([]),
  epoch: bigint('epoch', { mode: 'number' }).notNull().default(0),
  updatedAt: instant('updated_at').notNull().defaultNow(),
})

/** Observed by the leader: the targets that every router has acknowledged for the service's own host. */
export const serviceRoutes = pgTable('service_routes', {
  serviceUid: text('service_uid')
    .primaryKey()
    .references(() => services.uid, { onDelete: 'cascade' }),
  targets: jsonb('targets').$type<{ revision: string; percent: number }[]>().notNull(),
  epoch: bigint('epoch', { mode: 'number' }).notNull(),
  acknowledgedAt: instant('acknowledged_at').notNull().defaultNow(),
})

export const revisions = pgTable(
  'revisions',
  {
    uid: text('uid').primaryKey(),
    serviceUid: text('service_uid')
      .notNull()
      .references(() => services.uid, { onDelete: 'cascade' }),
    number: integer('number').notNull(),
    name: text('name').notNull(),
    template: jsonb('template').$type<RevisionTemplate>().notNull(),
    env: sealed('env').notNull(),
    /** SHA-256 over template and environment: the same hash and digest make no new revision. */
    contentHash: text('content_hash').notNull(),
    /** `registry/repository`, without tag or digest. */
    imageRepository: text('image_repository').notNull(),
    imageDigest: text('image_digest').notNull(),
    architectures: jsonb('architectures').$type<string[]>().notNull().default([]),
    createdAt: createdAt(),
    /** When its first replica answered the probe. */
    readyAt: instant('ready_at'),
    /** Why it cannot start, while nothing serves. */
    failure: jsonb('failure').$type<{ reason: string; message: string } | null>(),
    /** Smoothed times from decision to ready, by the rung it woke from. */
    startMs: jsonb('start_ms')
      .$type<{ cold?: number; parked?: number; frozen?: number }>()
      .notNull()
      .default({}),
  },
  (table) => [
    unique('revisions_service_number').on(table.serviceUid, table.number),
    unique('revisions_service_name').on(table.serviceUid, table.name),
  ],
)

export type RolloutTrouble = { reason: Reason; message: string }

export const deployments = pgTable(
  'deployments',
  {
    id: text('id').primaryKey(),
    projectUid: text('project_uid').notNull(),
    serviceUid: text('service_uid')
      .notNull()
      .references(() => services.uid, { onDelete: 'cascade' }),
    serviceName: text('service_name').notNull(),
    /** The service's generation it deploys. A newer one supersedes it. */
    generation: integer('generation').notNull(),
    trigger: text('trigger', { enum: deploymentTriggers }).notNull(),
    createdBy: text('created_by').notNull(),
    /** Desired: names the revision that it makes, which is numbered otherwise. */
    revisionSuffix: text('revision_suffix'),
    /** Desired: the user asked to stop it. */
    cancelRequestedAt: instant('cancel_requested_at'),
    /** Desired: the traffic goes back to what served before. */
    abortRequestedAt: instant('abort_requested_at'),
    /** Desired: no further step by itself. */
    pausedAt: instant('paused_at'),
    /** Desired: leave the step at this percent for the next one, without waiting for its interval. */
    promoteFrom: integer('promote_from'),
    /** Desired: at least this percent of the traffic of `latest` at once. */
    promoteTo: integer('promote_to'),
    revisionUid: text('revision_uid'),
    revisionName: text('revision_name'),
    /** Null until its traffic begins to shift. */
    rollout: jsonb('rollout').$type<RolloutProgress | null>(),
    /** By the leader: why its traffic should go back. */
    trouble: jsonb('trouble').$type<RolloutTrouble | null>(),
    /** By the leader, for the next one: what the revision before answered in the minute before it lost traffic. */
    answersBefore: jsonb('answers_before').$type<{ requests: number; failed: number } | null>(),
    /** Its traffic went back by itself after it had succeeded. */
    rolledBack: jsonb('rolled_back').$type<(RolloutTrouble & { at: string }) | null>(),
    phase: text('phase', { enum: deploymentPhases }).notNull().default('queued'),
    reason: text('reason'),
    message: text('message'),
    startedAt: instant('started_at').notNull().defaultNow(),
    finishedAt: instant('finished_at'),
    epoch: bigint('epoch', { mode: 'number' }).notNull().default(0),
  },
  (table) => [
    index('deployments_service').on(table.serviceUid, table.startedAt),
    index('deployments_open')
      .on(table.serviceUid)
      .where(sql`finished_at is null`),
  ],
)

export const deploymentEvents = pgTable(
  'deployment_events',
  {
    id: bigserial('id', { mode: 'number' }).primaryKey(),
    deploymentId: text('deployment_id')
      .notNull()
      .references(() => deployments.id, { onDelete: 'cascade' }),
    at: instant('at').notNull().defaultNow(),
    phase: text('phase', { enum: deploymentPhases }).notNull(),
    node: text('node'),
    message: text('message').notNull(),
  },
  (table) => [index('deployment_events_deployment').on(table.deploymentId, table.id)],
)

/**
 * A replica is a reservation on its node: inserting one and checking what fits is a single transaction; a parked
 * one reserves nothing. A reconcile pass inserts rows and marks them draining; the leader alone carries them out.
 */
export const replicas = pgTable(
  'replicas',
  {
    id: text('id').primaryKey(),
    projectUid: text('project_uid').notNull(),
    serviceUid: text('service_uid').notNull(),
    revisionUid: text('revision_uid').notNull(),
    nodeUid: text('node_uid').notNull(),
    /** The deployment that asked for it, whose phases and events its start writes. */
    deploymentId: text('deployment_id'),
    /** The replica of a node that is drained in whose place it was started. */
    replaces: text('replaces'),
    state: text('state', { enum: replicaStates }).notNull().default('starting'),
    rung: text('rung', { enum: rungs }).notNull().default('running'),
    address: text('address').notNull(),
    hostPort: integer('host_port').notNull(),
    cpuMillis: integer('cpu_millis').notNull(),
    memoryBytes: bytes('memory_bytes').notNull(),
    createdAt: createdAt(),
    startedAt: instant('started_at'),
    readyAt: instant('ready_at'),
    drainingAt: instant('draining_at'),
    failedAt: instant('failed_at'),
    restarts: integer('restarts').notNull().default(0),
    /** When its app ended and was started again: the last ten times in a row, without ten minutes of health between. */
    ends: jsonb('ends').$type<string[]>().notNull().default([]),
    reason: text('reason'),
    message: text('message'),
    epoch: bigint('epoch', { mode: 'number' }).notNull().default(0),
  },
  (table) => [
    index('replicas_service').on(table.serviceUid),
    index('replicas_node').on(table.nodeUid),
    index('replicas_revision').on(table.revisionUid),
  ],
)

/** By the leader: what befell replicas. A new id each time that an event happens again, so that the newest is the highest. */
export const serviceEvents = pgTable(
  'service_events',
  {
    id: bigserial('id', { mode: 'number' }).primaryKey(),
    serviceUid: text('service_uid')
      .notNull()
      .references(() => services.uid, { onDelete: 'cascade' }),
    at: instant('at').notNull().defaultNow(),
    firstAt: instant('first_at').notNull().defaultNow(),
    count: integer('count').notNull().default(1),
    kind: text('kind', { enum: serviceEventKinds }).notNull(),
    /** Names, since revisions and nodes may go before their events do. */
    revision: text('revision').notNull(),
    node: text('node'),
    replicaId: text('replica_id').notNull(),
    reason: text('reason').notNull(),
    message: text('message').notNull(),
  },
  (table) => [index('service_events_service').on(table.serviceUid, table.id)],
)

/** `name` is "sandbox" or the template's container name. */
export const replicaContainers = pgTable(
  'replica_containers',
  {
    replicaId: text('replica_id')
      .notNull()
      .references(() => replicas.id, { onDelete: 'cascade' }),
    name: text('name').notNull(),
    containerId: text('container_id').notNull(),
  },
  (table) => [primaryKey({ columns: [table.replicaId, table.name] })],
)

/**
 * Host ports in use or in quarantine. A row without a replica and without a spare is quarantined until
 * `quarantinedUntil`, so that a stale route never reaches another tenant's app.
 */
export const hostPorts = pgTable(
  'host_ports',
  {
    nodeUid: text('node_uid')
      .notNull()
      .references(() => nodes.uid, { onDelete: 'cascade' }),
    port: integer('port').notNull(),
    replicaId: text('replica_id'),
    spareId: text('spare_id'),
    quarantinedUntil: instant('quarantined_until'),
  },
  (table) => [primaryKey({ columns: [table.nodeUid, table.port] })],
)

/** The bridge network of a project on a node; the subnet is unique over all nodes. */
export const projectNetworks = pgTable(
  'project_networks',
  {
    nodeUid: text('node_uid')
      .notNull()
      .references(() => nodes.uid, { onDelete: 'cascade' }),
    projectUid: text('project_uid').notNull(),
    subnet: text('subnet').notNull().unique(),
    name: text('name').notNull(),
    createdAt: createdAt(),
  },
  (table) => [primaryKey({ columns: [table.nodeUid, table.projectUid] })],
)

/** A sandbox made ahead: taken by the next replica of its project on its node with the same container port. */
export const spareSandboxes = pgTable(
  'spare_sandboxes',
  {
    id: text('id').primaryKey(),
    nodeUid: text('node_uid')
      .notNull()
      .references(() => nodes.uid, { onDelete: 'cascade' }),
    projectUid: text('project_uid').notNull(),
    containerPort: integer('container_port').notNull(),
    hostPort: integer('host_port').notNull(),
    containerId: text('container_id'),
    readyAt: instant('ready_at'),
    createdAt: createdAt(),
    epoch: bigint('epoch', { mode: 'number' }).notNull().default(0),
  },
  (table) => [index('spare_sandboxes_key').on(table.nodeUid, table.projectUid, table.containerPort)],
)

/**
 * Desired by the API, except for `nodeUid`: the first replica that is placed decides on which node the volume is, for
 * good. It outlives its service, and then belongs to nobody until another one names it.
 */
export const volumes = pgTable(
  'volumes',
  {
    uid: text('uid').primaryKey(),
    projectUid: text('project_uid')
      .notNull()
      .references(() => projects.uid),
    serviceUid: text('service_uid').references(() => services.uid, { onDelete: 'set null' }),
    name: text('name').notNull(),
    /** Without a reference: that a node is gone does not mean that its data may be forgotten. */
    nodeUid: text('node_uid'),
    /** When it was made on its node. From then on it has to be there: an empty one in its place would be a lie. */
    madeAt: instant('made_at'),
    /** While an archive is written into it, which is given up when nobody has put this off in time. */
    restoringUntil: instant('restoring_until'),
    createdAt: createdAt(),
    deletedAt: instant('deleted_at'),
  },
  (table) => [
    unique('volumes_project_name').on(table.projectUid, table.name),
    index('volumes_service').on(table.serviceUid),
  ],
)

/** `leader`, and `service:<uid>` for reconcile passes. */
export const leases = pgTable('leases', {
  name: text('name').primaryKey(),
  holder: text('holder'),
  epoch: bigint('epoch', { mode: 'number' }).notNull().default(0),
  expiresAt: instant('expires_at').notNull(),
})

/** Where routers and the API find the leader; written by it. */
export const leaderAddress = pgTable('leader_address', {
  id: integer('id').primaryKey().default(1),
  epoch: bigint('epoch', { mode: 'number' }).notNull(),
  hubSocket: text('hub_socket').notNull(),
  controlSocket: text('control_socket').notNull(),
})

/** Router membership, written by the leader. */
export const routers = pgTable('routers', {
  id: text('id').primaryKey(),
  incarnation: text('incarnation').notNull(),
  adminPort: integer('admin_port').notNull(),
  lastSeenAt: instant('last_seen_at').notNull(),
})

export const tokenScopes = ['project', 'platform'] as const

export const tokens = pgTable('tokens', {
  id: text('id').primaryKey(),
  name: text('name').notNull(),
  /** A platform token covers every project, nodes and pools. */
  scope: text('scope', { enum: tokenScopes }).notNull(),
  projectUid: text('project_uid')
    .notNull()
    .references(() => projects.uid),
  hash: text('hash').notNull().unique(),
  createdAt: createdAt(),
  expiresAt: instant('expires_at'),
  revokedAt: instant('revoked_at'),
  lastUsedAt: instant('last_used_at'),
})

/** Credentials of private registries. */
export const registries = pgTable(
  'registries',
  {
    projectUid: text('project_uid')
      .notNull()
      .references(() => projects.uid),
    host: text('host').notNull(),
    username: text('username').notNull(),
    password: sealed('password').notNull(),
    updatedAt: instant('updated_at').notNull().defaultNow(),
  },
  (table) => [primaryKey({ columns: [table.projectUid, table.host] })],
)

/** Answers of POSTs by Idempotency-Key, kept 24 h; written in the transaction that did the work. */
export const idempotencyKeys = pgTable(
  'idempotency_keys',
  {
    projectUid: text('project_uid').notNull(),
    route: text('route').notNull(),
    key: text('key').notNull(),
    bodyHash: text('body_hash').notNull(),
    status: integer('status').notNull(),
    headers: jsonb('headers').$type<Record<string, string>>().notNull(),
    body: text('body').notNull(),
    createdAt: createdAt(),
  },
  (table) => [primaryKey({ columns: [table.projectUid, table.route, table.key] })],
)

/** Which node holds which image digest, as last observed. */
export const nodeImages = pgTable(
  'node_images',
  {
    nodeUid: text('node_uid')
      .notNull()
      .references(() => nodes.uid, { onDelete: 'cascade' }),
    digest: text('digest').notNull(),
    observedAt: instant('observed_at').notNull().defaultNow(),
  },
  (table) => [
    primaryKey({ columns: [table.nodeUid, table.digest] }),
    uniqueIndex('node_images_digest').on(table.digest, table.nodeUid),
  ],
)
