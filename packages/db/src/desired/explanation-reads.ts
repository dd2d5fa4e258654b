import type { ServiceUid } from '@berth/contracts'
import { and, desc, eq, gt, isNotNull, isNull, sql } from 'drizzle-orm'
import { withTransaction, type Executor, type Transaction } from '../connection.ts'
import {
  readReconcileSnapshot,
  type DeploymentFacts,
  type PlaceableNode,
  type ReconcileSnapshot,
  type ReplicaFacts,
} from '../observed/reconcile-snapshot.ts'
import { deploymentEvents, nodes, nodeStatus, replicas, serviceEvents } from '../schema.ts'
import type { ServiceEventRow } from './service-event-reads.ts'

/** What befell replicas before that is no news. */
const eventHours = 24
const explainedEvents = 20

export type ExplainedReplica = ReplicaFacts & {
  /** Empty when the node is gone. */
  node: string
  restarts: number
}

export type ExplainedNode = PlaceableNode & {
  /** Why it is down, as far as that is known. */
  message: string | null
  lastSeenAt: Date | null
}

/** `node` is the one that its last step was about, null when none was. */
export type ExplainedDeployment = DeploymentFacts & { node: string | null }

/** What a reconcile pass would look at, and what people want to know beside it. */
export type ExplanationFacts = Pick<
  ReconcileSnapshot,
  'readAt' | 'service' | 'status' | 'revisions' | 'volumes'
> & {
  /** The newest one that has not ended. */
  open: ExplainedDeployment | null
  lastFinished: ExplainedDeployment | null
  replicas: ExplainedReplica[]
  nodes: ExplainedNode[]
  /** Of the last day, newest first. */
  events: ServiceEventRow[]
}

/** All of it from one moment; null when the service is not there. */
export async function readExplanationFacts(
  db: Executor,
  serviceUid: ServiceUid,
): Promise<ExplanationFacts | null> {
  return withTransaction(
    db,
    async (tx) => {
      const snapshot = await readReconcileSnapshot(tx, serviceUid)
      if (snapshot === null) return null
      const { readAt, service, status, revisions, volumes } = snapshot
      return {
        readAt,
        service,
        status,
        revisions,
        volumes,
        open: await withNode(tx, snapshot.open.at(-1) ?? null),
        lastFinished: await withNode(tx, snapshot.lastFinished),
        replicas: await withRestarts(tx, snapshot),
        nodes: await withMessages(tx, snapshot.nodes),
        events: await lateEvents(tx, serviceUid),
      }
    },
    { isolationLevel: 'repeatable read', accessMode: 'read only' },
  )
}

async function withNode(
  tx: Transaction,
  deployment: DeploymentFacts | null,
): Promise<ExplainedDeployment | null> {
  if (deployment === null) return null
  const rows = await tx
    .select({ node: deploymentEvents.node })
    .from(deploymentEvents)
    .where(and(eq(deploymentEvents.deploymentId, deployment.id), isNotNull(deploymentEvents.node)))
    .orderBy(desc(deploymentEvents.id))
    .limit(1)
  return { ...deployment, node: rows[0]?.node ?? null }
}

async function withRestarts(tx: Transaction, snapshot: ReconcileSnapshot): Promise<ExplainedReplica[]> {
  const rows = await tx
    .select({ id: replicas.id, restarts: replicas.restarts, node: nodes.name })
    .from(replicas)
    .leftJoin(nodes, eq(nodes.uid, replicas.nodeUid))
    .where(eq(replicas.serviceUid, snapshot.service.uid))
  const byId = new Map(rows.map((row) => [row.id, row]))
  return snapshot.replicas.map((replica) => {
    const row = byId.get(replica.id)
    return { ...replica, restarts: row?.restarts ?? 0, node: row?.node ?? '' }
  })
}

async function lateEvents(tx: Transaction, serviceUid: ServiceUid): Promise<ServiceEventRow[]> {
  const since = sql`clock_timestamp() - make_interval(hours => ${eventHours})`
  return await tx
    .select()
    .from(serviceEvents)
    .where(and(eq(serviceEvents.serviceUid, serviceUid), gt(serviceEvents.at, since)))
    .orderBy(desc(serviceEvents.id))
    .limit(explainedEvents)
}

async function withMessages(tx: Transaction, known: readonly PlaceableNode[]): Promise<ExplainedNode[]> {
  const rows = await tx
    .select({ uid: nodes.uid, message: nodeStatus.message, lastSeenAt: nodeStatus.lastSeenAt })
    .from(nodes)
    .leftJoin(nodeStatus, eq(nodeStatus.nodeUid, nodes.uid))
    .where(isNull(nodes.deletedAt))
  const byUid = new Map(rows.map((row) => [row.uid, row]))
  return known.map((node) => {
    const row = byUid.get(node.uid)
    return { ...node, message: row?.message ?? null, lastSeenAt: row?.lastSeenAt ?? null }
  })
}
