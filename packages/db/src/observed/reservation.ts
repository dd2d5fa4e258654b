import { newId, type ReplicaId } from '@berth/contracts'
import { and, eq, inArray, isNull, ne, sql } from 'drizzle-orm'
import { withTransaction, type Executor, type Transaction } from '../connection.ts'
import { requireLease, type LeaseRef } from '../leases.ts'
import { notifyServiceChanged } from '../notify.ts'
import { nodes, nodeStatus, pools, replicas, services } from '../schema.ts'
import { assignHostPort } from './host-ports.ts'
import { nodeCapacity } from './node-capacity.ts'
import { bindVolumes } from './volumes.ts'

/*
 * A replica's row is its reservation. Counting what is reserved and adding to it happens in one transaction that
 * holds the service (for its upper bound) and then the node (for its memory, cores and ports), always in this
 * order, so that any number of workers together never promise more than there is.
 */

export type ReplicaRow = typeof replicas.$inferSelect

export type ReplicaReservation = {
  /** Given by the caller, so that a repeated call is recognised; else a new one is made. */
  id?: ReplicaId
  serviceUid: string
  revisionUid: string
  nodeUid: string
  deploymentId: string | null
  /** The replica in whose place it is to serve. */
  replaces?: ReplicaId
  cpuMillis: number
  memoryBytes: number
  /** Most starting, running and frozen replicas that the service may have: `maxScale`, in a rollout with surge. */
  maxReplicas: number
}

export type RefusedBecause =
  | 'service-gone'
  | 'node-gone'
  | 'not-schedulable'
  | 'max-scale'
  | 'memory'
  | 'cpu'
  | 'no-port'
  | 'volume'

/** `message` is for users and says what was asked for and what is free. */
export type ReservationResult =
  | { kind: 'reserved'; replica: ReplicaRow }
  | { kind: 'refused'; because: RefusedBecause; message: string }

/** Reserves place and port for one replica and inserts its row, `starting`. Throws `LeaseLostError`. */
export async function reserveReplica(
  db: Executor,
  lease: LeaseRef,
  wanted: ReplicaReservation,
): Promise<ReservationResult> {
  return withTransaction(db, async (tx) => {
    await requireLease(tx, lease)
    const id = wanted.id ?? newId('ReplicaId')
    const known = await tx.select().from(replicas).where(eq(replicas.id, id))
    if (known[0] !== undefined) return { kind: 'reserved', replica: known[0] }

    const bound = await lockService(tx, wanted.serviceUid, wanted.maxReplicas)
    if (bound.refused !== undefined) return bound.refused
    const place = await lockPlace(tx, wanted.nodeUid, wanted)
    if (place.refused !== undefined) return place.refused
    if (place.scheduling !== 'active')
      return refused('not-schedulable', `node "${place.name}" is ${place.scheduling}`)
    const volume = await bindVolumes(tx, wanted)
    if (volume !== null) return refused('volume', volume)
    const hostPort = await assignHostPort(tx, wanted.nodeUid, place.address, { replicaId: id })
    if (hostPort === undefined)
      return refused('no-port', `node "${place.name}" has no free port for a replica`)

    const rows = await tx
      .insert(replicas)
      .values({
        id,
        projectUid: bound.projectUid,
        serviceUid: wanted.serviceUid,
        revisionUid: wanted.revisionUid,
        nodeUid: wanted.nodeUid,
        deploymentId: wanted.deploymentId,
        replaces: wanted.replaces ?? null,
        address: place.address,
        hostPort,
        cpuMillis: wanted.cpuMillis,
        memoryBytes: wanted.memoryBytes,
        epoch: lease.epoch,
      })
      .returning()
    await notifyServiceChanged(tx, wanted.serviceUid)
    const replica = rows[0]
    if (replica === undefined) throw new Error('an inserted replica was not returned')
    return { kind: 'reserved', replica }
  })
}

/**
 * A parked replica reserves again what it needs to run, on the same bounds; a frozen or running one has it already.
 * The row's rung becomes `running`. Throws `LeaseLostError`.
 */
export async function reserveWake(
  db: Executor,
  lease: LeaseRef,
  id: string,
  maxReplicas: number,
): Promise<ReservationResult> {
  return withTransaction(db, async (tx) => {
    await requireLease(tx, lease)
    const before = await tx.select().from(replicas).where(eq(replicas.id, id))
    if (before[0] === undefined) return refused('service-gone', 'the replica is gone')
    if (before[0].rung === 'parked') {
      const bound = await lockService(tx, before[0].serviceUid, maxReplicas)
      if (bound.refused !== undefined) return bound.refused
      const place = await lockPlace(tx, before[0].nodeUid, before[0])
      if (place.refused !== undefined) return place.refused
    }
    const rows = await tx
      .update(replicas)
      .set({ rung: 'running', epoch: lease.epoch })
      .where(and(eq(replicas.id, id), inArray(replicas.state, ['starting', 'ready'])))
      .returning()
    if (rows[0] === undefined) return refused('service-gone', 'the replica is being removed')
    await notifyServiceChanged(tx, rows[0].serviceUid)
    return { kind: 'reserved', replica: rows[0] }
  })
}

function refused(because: RefusedBecause, message: string) {
  return { kind: 'refused' as const, because, message }
}

type Bound =
  | { refused: Extract<ReservationResult, { kind: 'refused' }> }
  | { refused: undefined; projectUid: string }

/**
 * Nobody else adds replicas to the service, or deletes it, until the transaction ends. An advisory lock rather than
 * the service's row: the API must not wait for a placement.
 */
export async function lockReplicasOf(tx: Transaction, serviceUid: string): Promise<void> {
  await tx.execute(sql`select pg_advisory_xact_lock(hashtextextended(${`replicas:${serviceUid}`}, 0))`)
}

async function lockService(tx: Transaction, serviceUid: string, maxReplicas: number): Promise<Bound> {
  await lockReplicasOf(tx, serviceUid)
  const found = await tx
    .select({ projectUid: services.projectUid })
    .from(services)
    .where(and(eq(services.uid, serviceUid), isNull(services.deletedAt)))
  if (found[0] === undefined) return { refused: refused('service-gone', 'the service is gone') }
  const count = await tx.$count(
    replicas,
    and(
      eq(replicas.serviceUid, serviceUid),
      inArray(replicas.state, ['starting', 'ready']),
      ne(replicas.rung, 'parked'),
    ),
  )
  if (count >= maxReplicas)
    return { refused: refused('max-scale', `the service has ${count} replicas of at most ${maxReplicas}`) }
  return { refused: undefined, projectUid: found[0].projectUid }
}

type Place =
  | { refused: Extract<ReservationResult, { kind: 'refused' }> }
  | { refused: undefined; name: string; address: string; scheduling: string }

async function lockPlace(
  tx: Transaction,
  nodeUid: string,
  wanted: { memoryBytes: number; cpuMillis: number },
): Promise<Place> {
  const rows = await tx
    .select({ node: nodes, status: nodeStatus, overcommitCpu: pools.overcommitCpu })
    .from(nodes)
    .innerJoin(pools, eq(pools.name, nodes.pool))
    .leftJoin(nodeStatus, eq(nodeStatus.nodeUid, nodes.uid))
    .where(and(eq(nodes.uid, nodeUid), isNull(nodes.deletedAt)))
    .for('no key update', { of: nodes })
  const found = rows[0]
  if (found === undefined) return { refused: refused('node-gone', 'the node is gone') }
  const { node, status, overcommitCpu } = found

  const capacity = nodeCapacity(node, status)
  const reserved = await reservedOn(tx, nodeUid)
  const freeMemory = capacity.memoryBytes - capacity.systemReservedBytes - reserved.memoryBytes
  if (wanted.memoryBytes > freeMemory)
    return {
      refused: refused(
        'memory',
        `node "${node.name}": memory ${mebibytes(wanted.memoryBytes)} asked, ${mebibytes(Math.max(0, freeMemory))} free`,
      ),
    }
  const freeCpu = Math.floor(capacity.cpuMillis * overcommitCpu) - reserved.cpuMillis
  if (wanted.cpuMillis > freeCpu)
    return {
      refused: refused(
        'cpu',
        `node "${node.name}": cpu ${wanted.cpuMillis}m asked, ${Math.max(0, freeCpu)}m free`,
      ),
    }
  return { refused: undefined, name: node.name, address: node.address, scheduling: node.scheduling }
}

/** What the replicas of a node hold: parked and failed ones nothing, draining ones still all of it. */
export async function reservedOn(
  db: Executor,
  nodeUid: string,
): Promise<{ memoryBytes: number; cpuMillis: number }> {
  const rows = await db
    .select({
      memoryBytes: sql<string>`coalesce(sum(${replicas.memoryBytes}), 0)`,
      cpuMillis: sql<string>`coalesce(sum(${replicas.cpuMillis}), 0)`,
    })
    .from(replicas)
    .where(and(eq(replicas.nodeUid, nodeUid), ne(replicas.state, 'failed'), ne(replicas.rung, 'parked')))
  return {
    memoryBytes: Number(rows[0]?.memoryBytes ?? 0),
    cpuMillis: Number(rows[0]?.cpuMillis ?? 0),
  }
}

function mebibytes(bytes: number): string {
  return `${Math.floor(bytes / 1024 ** 2)}Mi`
}
