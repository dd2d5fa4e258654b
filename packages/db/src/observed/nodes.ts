import type { NodeReachability, NodeUid } from '@berth/contracts'
import { and, eq, isNotNull, isNull, ne, sql } from 'drizzle-orm'
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
  await writeStatus(db, lease, node, { ...facts, lastSeenAt: new Date() })
}

/** No effect when the lease is lost. */
export async function touchNode(db: Executor, lease: LeaseRef, node: NodeUid): Promise<void> {
  await writeStatus(db, lease, node, { lastSeenAt: new Date() })
}

async function writeStatus(
  db: Executor,
  lease: LeaseRef,
  node: NodeUid,
  change: Partial<typeof nodeStatus.$inferInsert>,
): Promise<void> {
  await db.insert(nodeStatus).values({ nodeUid: node }).onConflictDoNothing()
  await db
    .update(nodeStatus)
    .set({ ...change, epoch: lease.epoch })
    .where(and(eq(nodeStatus.nodeUid, node), leaseHeld(lease)))
}

/**
 * The name of another node on the same machine, when one of the two does not say how much of the machine it may
 * sell; null when there is none. Equal engine ids always collide: it is the same engine twice.
 */
export async function readNodeOnSameMachine(
  db: Executor,
  node: NodeUid,
  facts: Pick<NodeFacts, 'engineId' | 'machineId'>,
): Promise<{ name: string; sameEngine: boolean } | null> {
  const rows = await db
    .select({
      name: nodes.name,
      capacity: nodes.capacity,
      engineId: nodeStatus.engineId,
      machineId: nodeStatus.machineId,
    })
    .from(nodes)
    .innerJoin(nodeStatus, eq(nodeStatus.nodeUid, nodes.uid))
    .where(and(ne(nodes.uid, node), isNull(nodes.deletedAt)))
  const own = await db.select({ capacity: nodes.capacity }).from(nodes).where(eq(nodes.uid, node))
  const twin = rows.find((row) => row.engineId === facts.engineId && facts.engineId !== '')
  if (twin) return { name: twin.name, sameEngine: true }
  const neighbour = rows.find(
    (row) =>
      facts.machineId !== '' &&
      row.machineId === facts.machineId &&
      (row.capacity === null || !own[0]?.capacity),
  )
  return neighbour ? { name: neighbour.name, sameEngine: false } : null
}

/** Deletes nodes that were asked to go and hold no replica any more; how many. */
export async function deleteEmptyNodes(db: Executor, lease: LeaseRef): Promise<number> {
  const gone = await db
    .delete(nodes)
    .where(
      and(
        isNotNull(nodes.deletedAt),
        sql`not exists (select 1 from ${replicas} where ${replicas.nodeUid} = ${nodes.uid})`,
        leaseHeld(lease),
      ),
    )
    .returning({ uid: nodes.uid })
  return gone.length
}
