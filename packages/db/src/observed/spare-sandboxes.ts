import { newId } from '@berth/contracts'
import { and, asc, eq, inArray, isNull, sql } from 'drizzle-orm'
import { withTransaction, type Executor } from '../connection.ts'
import { requireLease, type LeaseRef } from '../leases.ts'
import { hostPorts, nodes, replicas, spareSandboxes } from '../schema.ts'
import { assignHostPort, restUntil } from './host-ports.ts'

/*
 * A spare is free while its host port names no replica, and bound to the replica that it names afterwards. A bound
 * spare's row stays until its replica is removed, since the container's label keeps the spare's id.
 */

export type SpareRow = typeof spareSandboxes.$inferSelect
export type SpareKey = { nodeUid: string; projectUid: string; containerPort: number }

const ofSpare = and(
  eq(hostPorts.nodeUid, spareSandboxes.nodeUid),
  eq(hostPorts.port, spareSandboxes.hostPort),
  eq(hostPorts.spareId, spareSandboxes.id),
)

/** A row and a port for a spare that is about to be made, or null when the node is gone or has no port left. */
export async function reserveSpare(db: Executor, lease: LeaseRef, key: SpareKey): Promise<SpareRow | null> {
  return withTransaction(db, async (tx) => {
    await requireLease(tx, lease)
    const node = (
      await tx
        .select({ address: nodes.address })
        .from(nodes)
        .where(and(eq(nodes.uid, key.nodeUid), isNull(nodes.deletedAt)))
        .for('no key update')
    )[0]
    if (node === undefined) return null
    const id = newId('ReplicaId').replace(/^rep-/, 'spr-')
    const hostPort = await assignHostPort(tx, key.nodeUid, node.address, { spareId: id })
    if (hostPort === undefined) return null
    const rows = await tx
      .insert(spareSandboxes)
      .values({ id, ...key, hostPort, epoch: lease.epoch })
      .returning()
    return rows[0] ?? null
  })
}

/** It runs and may be taken. False when its row is gone. */
export async function markSpareReady(
  db: Executor,
  lease: LeaseRef,
  id: string,
  containerId: string,
): Promise<boolean> {
  return withTransaction(db, async (tx) => {
    await requireLease(tx, lease)
    const rows = await tx
      .update(spareSandboxes)
      .set({ containerId, readyAt: sql`clock_timestamp()`, epoch: lease.epoch })
      .where(eq(spareSandboxes.id, id))
      .returning({ id: spareSandboxes.id })
    return rows.length === 1
  })
}

/**
 * Binds a free spare to a starting replica of its project, node and container port: a ready one, else (with
 * `joinUnready`) one that is still being made. The replica's own port, which nothing has used, is given back and
 * the spare's becomes its port. Null when there is none.
 */
export async function takeSpare(
  db: Executor,
  lease: LeaseRef,
  key: SpareKey,
  replicaId: string,
  options: { joinUnready?: boolean } = {},
): Promise<SpareRow | null> {
  return withTransaction(db, async (tx) => {
    await requireLease(tx, lease)
    const found = (
      await tx
        .select({ spare: spareSandboxes })
        .from(spareSandboxes)
        .innerJoin(hostPorts, ofSpare)
        .where(
          and(
            eq(spareSandboxes.nodeUid, key.nodeUid),
            eq(spareSandboxes.projectUid, key.projectUid),
            eq(spareSandboxes.containerPort, key.containerPort),
            isNull(hostPorts.replicaId),
            options.joinUnready === true ? undefined : sql`${spareSandboxes.readyAt} is not null`,
          ),
        )
        .orderBy(sql`${spareSandboxes.readyAt} asc nulls last`, asc(spareSandboxes.createdAt))
        .limit(1)
        .for('update', { skipLocked: true })
    )[0]?.spare
    if (found === undefined) return null
    const moved = await tx
      .update(replicas)
      .set({ hostPort: found.hostPort, epoch: lease.epoch })
      .where(
        and(
          eq(replicas.id, replicaId),
          eq(replicas.nodeUid, key.nodeUid),
          eq(replicas.projectUid, key.projectUid),
          eq(replicas.state, 'starting'),
        ),
      )
      .returning({ id: replicas.id })
    if (moved.length === 0) return null
    await tx.delete(hostPorts).where(eq(hostPorts.replicaId, replicaId))
    await tx
      .update(hostPorts)
      .set({ replicaId })
      .where(and(eq(hostPorts.nodeUid, key.nodeUid), eq(hostPorts.port, found.hostPort)))
    return found
  })
}

/**
 * Gives up a spare that no replica has, before its container is removed, so that nobody can take it meanwhile; its
 * port rests until the container is surely gone. False when a replica has it, or there is none.
 */
export async function giveUpSpare(db: Executor, lease: LeaseRef, id: string): Promise<boolean> {
  return withTransaction(db, async (tx) => {
    await requireLease(tx, lease)
    const free = await tx
      .select({ id: spareSandboxes.id })
      .from(spareSandboxes)
      .innerJoin(hostPorts, ofSpare)
      .where(and(eq(spareSandboxes.id, id), isNull(hostPorts.replicaId)))
      .for('update')
    if (free.length === 0) return false
    await tx
      .update(hostPorts)
      .set({ spareId: null, quarantinedUntil: restUntil })
      .where(eq(hostPorts.spareId, id))
    await tx.delete(spareSandboxes).where(eq(spareSandboxes.id, id))
    return true
  })
}

/** The spare of a replica is dead: its row goes, and the port stays the replica's, for a sandbox of its own. */
export async function loseSpare(db: Executor, lease: LeaseRef, replicaId: string): Promise<void> {
  await withTransaction(db, async (tx) => {
    await requireLease(tx, lease)
    const bound = tx
      .select({ id: hostPorts.spareId })
      .from(hostPorts)
      .where(eq(hostPorts.replicaId, replicaId))
    await tx.delete(spareSandboxes).where(inArray(spareSandboxes.id, bound))
    await tx.update(hostPorts).set({ spareId: null }).where(eq(hostPorts.replicaId, replicaId))
  })
}

/** The spare that the replica's sandbox was made as, null when it has one of its own. */
export async function spareOfReplica(db: Executor, replicaId: string): Promise<SpareRow | null> {
  const rows = await db
    .select({ spare: spareSandboxes })
    .from(spareSandboxes)
    .innerJoin(hostPorts, ofSpare)
    .where(eq(hostPorts.replicaId, replicaId))
  return rows[0]?.spare ?? null
}

/** Spares that no replica has, of one node or of all. */
export async function freeSpares(db: Executor, nodeUid?: string): Promise<SpareRow[]> {
  const rows = await db
    .select({ spare: spareSandboxes })
    .from(spareSandboxes)
    .innerJoin(hostPorts, ofSpare)
    .where(
      and(
        isNull(hostPorts.replicaId),
        nodeUid === undefined ? undefined : eq(spareSandboxes.nodeUid, nodeUid),
      ),
    )
    .orderBy(asc(spareSandboxes.createdAt))
  return rows.map(({ spare }) => spare)
}
