import type { NodeReachability, NodeUid } from '@berth/contracts'
import { and, eq, isNotNull, isNull, ne, sql, type SQL } from 'drizzle-orm'
import type { Executor } from '../connection.ts'
import { leaseHeld, type LeaseRef } from '../leases.ts'
import { nodes, nodeStatus, replicas } from '../schema.ts'

/** What an engine said of itself. Memory in bytes, `cpuMillis` in thousandths of a core. */
export type NodeFacts = {
  cpuMillis: number
  memoryBytes: number
  engineId: string
  machineId: string
  engineVersion: string
  apiVersion: string
  architecture: string
  honestPorts: boolean
}

export type NodeConnection = { uid: NodeUid; name: string; endpoint: string; tls: Buffer | null }

/** How to reach the nodes that are registered; `tls` is sealed for `node:<uid>:tls`. */
export async function readNodeConnections(db: Executor): Promise<NodeConnection[]> {
  const rows = await db
    .select({ uid: nodes.uid, name: nodes.name, endpoint: nodes.endpoint, tls: nodes.tls })
    .from(nodes)
  return rows.map((row) => ({ ...row, uid: row.uid as NodeUid }))
}

/** No effect when the lease is lost. `message` says why a node is down. */
export async function writeReachability(
  db: Executor,
  lease: LeaseRef,
  node: NodeUid,
  reachability: NodeReachability,
  message: string | null,
): Promise<void> {
  await writeStatus(db, lease, node, { reachability, message })
}

/** No effect when the lease is lost. */
export async function writeNodeFacts(
  db: Executor,
  lease: LeaseRef,
  node: NodeUid,
  facts: NodeFacts,
): Promise<void> {
  await writeStatus(db, lease, node, { ...facts, lastSeenAt: now })
}

/** No effect when the lease is lost. */
export async function touchNode(db: Executor, lease: LeaseRef, node: NodeUid): Promise<void> {
  await writeStatus(db, lease, node, { lastSeenAt: now })
}

/** No effect when the lease is lost. */
export async function writeNodeDisk(
  db: Executor,
  lease: LeaseRef,
  node: NodeUid,
  disk: { totalBytes: number; freeBytes: number },
): Promise<void> {
  const { totalBytes: diskTotalBytes, freeBytes: diskFreeBytes } = disk
  await writeStatus(db, lease, node, { diskTotalBytes, diskFreeBytes, diskAt: now })
}

type StatusColumns = typeof nodeStatus.$inferInsert
type StatusChange = { [Column in keyof StatusColumns]?: StatusColumns[Column] | SQL }

const now = sql`clock_timestamp()`

async function writeStatus(
  db: Executor,
  lease: LeaseRef,
  node: NodeUid,
  change: StatusChange,
): Promise<void> {
  // From a select, so that a node which was deleted meanwhile gets no row and causes no error.
  await db.execute(
    sql`insert into ${nodeStatus} (node_uid)
      select uid from ${nodes} where uid = ${node} and ${leaseHeld(lease)} on conflict do nothing`,
  )
  await db
    .update(nodeStatus)
    .set({ ...change, epoch: lease.epoch })
    .where(and(eq(nodeStatus.nodeUid, node), leaseHeld(lease)))
}

/**
 * The name of another node that stands in this one's way, null when there is none: one with the same endpoint, or
 * one on the same machine when not both say how much of it they may sell. Engines that share a machine may share
 * their id too, since Docker keeps its key beside the configuration.
 */
export async function readNodeOnSameMachine(
  db: Executor,
  node: NodeUid,
  facts: Pick<NodeFacts, 'engineId' | 'machineId'>,
): Promise<{ name: string; sameEngine: boolean } | null> {
  const columns = { name: nodes.name, endpoint: nodes.endpoint, capacity: nodes.capacity }
  const [own] = await db.select(columns).from(nodes).where(eq(nodes.uid, node))
  if (!own) return null
  const others = await db
    .select({ ...columns, engineId: nodeStatus.engineId, machineId: nodeStatus.machineId })
    .from(nodes)
    .innerJoin(nodeStatus, eq(nodeStatus.nodeUid, nodes.uid))
    .where(and(ne(nodes.uid, node), isNull(nodes.deletedAt), isNotNull(nodeStatus.lastSeenAt)))
  const twin = others.find(({ endpoint }) => endpoint === own.endpoint)
  if (twin) return { name: twin.name, sameEngine: true }
  const neighbour = others.find(
    (other) =>
      (same(other.machineId, facts.machineId) || same(other.engineId, facts.engineId)) &&
      (other.capacity === null || own.capacity === null),
  )
  return neighbour ? { name: neighbour.name, sameEngine: false } : null
}

function same(a: string | null, b: string): boolean {
  return b !== '' && a === b
}

/** Nodes that were asked to go and hold no replica any more. */
export async function readDepartingNodes(db: Executor): Promise<{ uid: NodeUid; name: string }[]> {
  const rows = await db.select({ uid: nodes.uid, name: nodes.name }).from(nodes).where(isDeparting)
  return rows.map((row) => ({ ...row, uid: row.uid as NodeUid }))
}

/** With its ports, spares and networks. No effect when it is not asked to go, holds a replica, or the lease is lost. */
export async function deleteDepartingNode(db: Executor, lease: LeaseRef, node: NodeUid): Promise<void> {
  await db.delete(nodes).where(and(eq(nodes.uid, node), isDeparting, leaseHeld(lease)))
}

const isDeparting = and(
  isNotNull(nodes.deletedAt),
  sql`not exists (select 1 from ${replicas} r where r.node_uid = nodes.uid)`,
)
