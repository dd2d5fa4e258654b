import { and, asc, count, eq, gt, inArray, sql } from 'drizzle-orm'
import { newId } from '@berth/contracts'
import type { Executor, Transaction } from '../connection.ts'
import { nodes, nodeStatus, replicas } from '../schema.ts'
import { readLeavingReplicas, type LeavingReplica } from './node-drains.ts'
import type { Page } from './page.ts'
import { rowOf } from './row-of.ts'

export type NodeRow = typeof nodes.$inferSelect
export type DesiredNode = Pick<
  NodeRow,
  'endpoint' | 'address' | 'pool' | 'labels' | 'tls' | 'scheduling' | 'capacity' | 'systemReservedBytes'
>

/** A node with what is observed of it and what its replicas reserve. */
export type NodePicture = {
  node: NodeRow
  status: typeof nodeStatus.$inferSelect | null
  reserved: { cpuMillis: number; memoryBytes: number }
  /** How many stand on it, whatever their state. */
  replicas: number
  /** Null unless it is drained. */
  drain: { leaving: LeavingReplica[]; elapsedMs: number } | null
}

type Found = Omit<NodePicture, 'reserved' | 'replicas' | 'drain'> & { drainMs: number | null }

const found = {
  node: nodes,
  status: nodeStatus,
  drainMs: sql`extract(epoch from clock_timestamp() - ${nodes.drainStartedAt}) * 1000`.mapWith(
    nullableNumber,
  ),
}

function nullableNumber(value: unknown): number | null {
  return value === null ? null : Number(value)
}

/** Seals and opens `nodes.tls` (JSON `{ca, cert, key}`) under this purpose. */
export function nodeTlsPurpose(uid: string): string {
  return `node:${uid}:tls`
}

export async function findNode(db: Executor, name: string): Promise<NodePicture | undefined> {
  const rows = await db
    .select(found)
    .from(nodes)
    .leftJoin(nodeStatus, eq(nodeStatus.nodeUid, nodes.uid))
    .where(eq(nodes.name, name))
  return (await withReplicas(db, rows))[0]
}

/** Locks the row until the transaction ends. */
export async function findNodeForUpdate(tx: Transaction, name: string): Promise<NodeRow | undefined> {
  const rows = await tx.select().from(nodes).where(eq(nodes.name, name)).for('update')
  return rows[0]
}

/** By name. */
export async function listNodes(db: Executor, page: Page): Promise<NodePicture[]> {
  const rows = await db
    .select(found)
    .from(nodes)
    .leftJoin(nodeStatus, eq(nodeStatus.nodeUid, nodes.uid))
    .where(page.after === undefined ? undefined : gt(nodes.name, page.after))
    .orderBy(asc(nodes.name))
    .limit(page.limit)
  return await withReplicas(db, rows)
}

export function newNodeUid(): string {
  return newId('NodeUid')
}

/** Throws `UniqueViolationError` when the name is taken. */
export async function insertNodeRow(
  tx: Transaction,
  node: DesiredNode & { uid: string; name: string },
): Promise<NodeRow> {
  return rowOf(await tx.insert(nodes).values(node).returning())
}

/** Takes the given columns over and counts the generation up; `draining` starts the count of what has moved. */
export async function updateNodeRow(
  tx: Transaction,
  uid: string,
  change: Partial<DesiredNode>,
): Promise<NodeRow> {
  const rows = await tx
    .update(nodes)
    .set({
      ...change,
      ...drainColumns(change.scheduling),
      generation: sql`${nodes.generation} + 1`,
      updatedAt: sql`clock_timestamp()`,
    })
    .where(eq(nodes.uid, uid))
    .returning()
  return rowOf(rows)
}

function drainColumns(scheduling: NodeRow['scheduling'] | undefined) {
  if (scheduling === undefined) return {}
  if (scheduling !== 'draining') return { drainStartedAt: null, drainTotal: null }
  return {
    drainStartedAt: sql`clock_timestamp()`,
    // Spelt out: drizzle leaves the table off where a statement writes one only.
    drainTotal: sql`(select count(*) from replicas where node_uid = nodes.uid and state <> 'failed')`,
  }
}

/** How many replicas stand on the node, whatever their state. */
export async function countNodeReplicas(db: Executor, uid: string): Promise<number> {
  const [found] = await db.select({ count: count() }).from(replicas).where(eq(replicas.nodeUid, uid))
  return found?.count ?? 0
}

/** The leader cleans the engine up as far as it answers, then takes the row away. */
export async function markNodeDeleted(tx: Transaction, uid: string): Promise<NodeRow> {
  const rows = await tx
    .update(nodes)
    .set({
      deletedAt: sql`coalesce(${nodes.deletedAt}, clock_timestamp())`,
      scheduling: 'cordoned',
      ...drainColumns('cordoned'),
      generation: sql`${nodes.generation} + 1`,
      updatedAt: sql`clock_timestamp()`,
    })
    .where(eq(nodes.uid, uid))
    .returning()
  return rowOf(rows)
}

/** A replica reserves on its node until it has failed or is parked. */
async function withReplicas(db: Executor, rows: Found[]): Promise<NodePicture[]> {
  const uids = rows.map(({ node }) => node.uid)
  if (uids.length === 0) return []
  const reserves = and(
    inArray(replicas.state, ['starting', 'ready', 'draining']),
    inArray(replicas.rung, ['running', 'frozen']),
  )
  const sumOf = (column: typeof replicas.cpuMillis | typeof replicas.memoryBytes) =>
    sql`coalesce(sum(${column}) filter (where ${reserves}), 0)`.mapWith(Number)
  const sums = await db
    .select({
      nodeUid: replicas.nodeUid,
      replicas: count(),
      cpuMillis: sumOf(replicas.cpuMillis),
      memoryBytes: sumOf(replicas.memoryBytes),
    })
    .from(replicas)
    .where(inArray(replicas.nodeUid, uids))
    .groupBy(replicas.nodeUid)
  const drained = rows.filter(({ node }) => node.scheduling === 'draining').map(({ node }) => node.uid)
  const leaving = Map.groupBy(await readLeavingReplicas(db, drained), ({ nodeUid }) => nodeUid)
  return rows.map(({ node, status, drainMs }) => {
    const sum = sums.find(({ nodeUid }) => nodeUid === node.uid)
    const { cpuMillis, memoryBytes } = sum ?? { cpuMillis: 0, memoryBytes: 0 }
    const drain =
      node.scheduling === 'draining' && drainMs !== null
        ? { leaving: leaving.get(node.uid) ?? [], elapsedMs: drainMs }
        : null
    return { node, status, replicas: sum?.replicas ?? 0, reserved: { cpuMillis, memoryBytes }, drain }
  })
}
