import { replicaStates, type Reason, type ReplicaState, type Rung, mayMoveReplica } from '@berth/contracts'
import { and, asc, eq, inArray, sql, type SQL } from 'drizzle-orm'
import { withTransaction, type Executor, type Transaction } from '../connection.ts'
import { requireLease, type LeaseRef } from '../leases.ts'
import { notifyServiceChanged } from '../notify.ts'
import { hostPorts, replicaContainers, replicas, spareSandboxes } from '../schema.ts'
import { quarantinePortsOf } from './host-ports.ts'
import type { ReplicaRow } from './reservation.ts'
import { noteReplicaEvent, type ReplicaEvent } from './service-events.ts'

/** Of the ends in a row: enough for the longest back-off. */
export const keptEnds = 10

/*
 * What becomes of a replica after its reservation. Every write is guarded by the lease, moves only where
 * `mayMoveReplica` allows, tells listeners, notes restarts and failures as events of the service, and answers whether it changed a row: false means that the replica is
 * gone or in a state that does not allow it. All throw `LeaseLostError`.
 */

/** It answered its probe: it may be routed. */
export async function markReplicaReady(db: Executor, lease: LeaseRef, id: string): Promise<boolean> {
  return move(db, lease, id, 'ready', {
    rung: 'running',
    readyAt: sql`clock_timestamp()`,
    startedAt: sql`coalesce(${replicas.startedAt}, clock_timestamp())`,
    reason: null,
    message: null,
  })
}

/** It ended or could not start. The row is kept for its reason; its place is free at once, its port is not. */
export async function markReplicaFailed(
  db: Executor,
  lease: LeaseRef,
  id: string,
  why: { reason: Reason; message: string },
): Promise<boolean> {
  const { reason, message } = why
  const values = { reason, message, failedAt: sql`clock_timestamp()` }
  return move(db, lease, id, 'failed', values, { kind: 'ReplicaFailed', reason, message })
}

/** For good: the leader takes it out of the routes, waits for its requests and removes it. */
export async function markReplicaDraining(db: Executor, lease: LeaseRef, id: string): Promise<boolean> {
  return move(db, lease, id, 'draining', { drainingAt: sql`clock_timestamp()` })
}

/** Whether its readiness probe fails, with why, or (null) succeeds again. It stays ready, and is not routed meanwhile. */
export async function writeReadiness(
  db: Executor,
  lease: LeaseRef,
  id: string,
  why: { reason: Reason; message: string } | null,
): Promise<boolean> {
  const values = why ?? { reason: null, message: null }
  return change(db, lease, id, values, eq(replicas.state, 'ready'))
}

/** A ready replica whose app ended is brought up again in place; `inARow` counts this end too. */
export async function markReplicaRestarting(
  db: Executor,
  lease: LeaseRef,
  id: string,
  { inARow, reason, message }: { reason: Reason; message: string; inARow: number },
): Promise<boolean> {
  const endsBefore = sql`case when ${inARow} = 1 then '[]'::jsonb
    when jsonb_array_length(${replicas.ends}) < ${keptEnds} then ${replicas.ends}
    else ${replicas.ends} - 0 end`
  const values = {
    rung: 'running',
    restarts: sql`${replicas.restarts} + 1`,
    ends: sql`(${endsBefore}) || to_jsonb(clock_timestamp())`,
    readyAt: null,
    reason,
    message,
  } as const
  return move(db, lease, id, 'starting', values, { kind: 'ReplicaRestarted', reason, message })
}

/**
 * Writes the rung that a replica is on, without looking at what fits: for what has been done already. A wake that
 * may wait for the database asks `reserveWake` first.
 */
export async function setReplicaRung(
  db: Executor,
  lease: LeaseRef,
  id: string,
  rung: Rung,
): Promise<boolean> {
  return change(db, lease, id, { rung }, inArray(replicas.state, ['starting', 'ready', 'draining']))
}

/** Moves it into `state` when the table of legal moves has that. */
async function move(
  db: Executor,
  lease: LeaseRef,
  id: string,
  state: ReplicaState,
  values: ReplicaChange,
  event?: ReplicaEvent,
): Promise<boolean> {
  const from = replicaStates.filter((before) => mayMoveReplica(before, state))
  return change(db, lease, id, { ...values, state }, inArray(replicas.state, from), event)
}

type ReplicaChange = { [Column in keyof ReplicaRow]?: ReplicaRow[Column] | SQL }

async function change(
  db: Executor,
  lease: LeaseRef,
  id: string,
  values: ReplicaChange,
  where: SQL,
  event?: ReplicaEvent,
): Promise<boolean> {
  return withTransaction(db, async (tx) => {
    await requireLease(tx, lease)
    const { serviceUid, revisionUid, nodeUid } = replicas
    const [row] = await tx
      .update(replicas)
      .set({ ...values, epoch: lease.epoch })
      .where(and(eq(replicas.id, id), where))
      .returning({ serviceUid, revisionUid, nodeUid })
    if (row === undefined) return false
    if (event) await noteReplicaEvent(tx, { id, ...row }, event)
    await notifyServiceChanged(tx, row.serviceUid)
    return true
  })
}

/** The ids of a replica's containers by name: `sandbox`, `app`. */
export type ContainerIds = Readonly<Record<string, string>>

/** Remembers containers by name; those not named stay as they are. False when the replica is gone. */
export async function recordContainers(
  db: Executor,
  lease: LeaseRef,
  id: string,
  containers: ContainerIds,
): Promise<boolean> {
  return withTransaction(db, async (tx) => {
    await requireLease(tx, lease)
    const rows = await tx
      .update(replicas)
      .set({ startedAt: sql`coalesce(${replicas.startedAt}, clock_timestamp())`, epoch: lease.epoch })
      .where(eq(replicas.id, id))
      .returning({ serviceUid: replicas.serviceUid })
    if (rows[0] === undefined) return false
    for (const [name, containerId] of Object.entries(containers))
      await tx
        .insert(replicaContainers)
        .values({ replicaId: id, name, containerId })
        .onConflictDoUpdate({
          target: [replicaContainers.replicaId, replicaContainers.name],
          set: { containerId },
        })
    await notifyServiceChanged(tx, rows[0].serviceUid)
    return true
  })
}

/** Forgets a container that is gone, for example a parked app that somebody pruned. */
export async function forgetContainer(
  db: Executor,
  lease: LeaseRef,
  id: string,
  name: string,
): Promise<void> {
  await withTransaction(db, async (tx) => {
    await requireLease(tx, lease)
    await tx
      .delete(replicaContainers)
      .where(and(eq(replicaContainers.replicaId, id), eq(replicaContainers.name, name)))
  })
}

/** Its containers are gone: deletes the row, its port begins its rest. False when there was none. */
export async function removeReplica(db: Executor, lease: LeaseRef, id: string): Promise<boolean> {
  return withTransaction(db, async (tx) => {
    await requireLease(tx, lease)
    await releaseSandboxOf(tx, id)
    const rows = await tx
      .delete(replicas)
      .where(eq(replicas.id, id))
      .returning({ serviceUid: replicas.serviceUid })
    if (rows[0] === undefined) return false
    await notifyServiceChanged(tx, rows[0].serviceUid)
    return true
  })
}

/**
 * A replica's port begins its rest. The spare that became its sandbox keeps a row until here, so that garbage
 * collection knows the container.
 */
export async function releaseSandboxOf(tx: Transaction, replicaId: string): Promise<void> {
  const bound = tx.select({ id: hostPorts.spareId }).from(hostPorts).where(eq(hostPorts.replicaId, replicaId))
  await tx.delete(spareSandboxes).where(inArray(spareSandboxes.id, bound))
  await quarantinePortsOf(tx, replicaId)
}

export type ReplicaWithContainers = ReplicaRow & { containers: ContainerIds }

export async function readReplica(db: Executor, id: string): Promise<ReplicaWithContainers | null> {
  return (await listReplicas(db, eq(replicas.id, id)))[0] ?? null
}

/** All replicas of a service, oldest first. */
export async function replicasOfService(db: Executor, serviceUid: string): Promise<ReplicaWithContainers[]> {
  return listReplicas(db, eq(replicas.serviceUid, serviceUid))
}

/** All replicas on a node, oldest first. */
export async function replicasOnNode(db: Executor, nodeUid: string): Promise<ReplicaWithContainers[]> {
  return listReplicas(db, eq(replicas.nodeUid, nodeUid))
}

async function listReplicas(db: Executor, where: SQL): Promise<ReplicaWithContainers[]> {
  const rows = await db
    .select({
      replica: replicas,
      containers: sql<ContainerIds>`coalesce((select jsonb_object_agg(c.name, c.container_id) from replica_containers c where c.replica_id = ${replicas.id}), '{}')`,
    })
    .from(replicas)
    .where(where)
    .orderBy(asc(replicas.createdAt), asc(replicas.id))
  return rows.map(({ replica, containers }) => ({ ...replica, containers }))
}
