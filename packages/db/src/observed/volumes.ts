import type { NodeUid, RevisionTemplate, ServiceUid, VolumeUid } from '@berth/contracts'
import { and, asc, eq, inArray, isNotNull, isNull, lt, or, sql } from 'drizzle-orm'
import { withTransaction, type Executor, type Transaction } from '../connection.ts'
import { leaseHeld, requireLease, type LeaseRef } from '../leases.ts'
import { nodes, revisions, volumes } from '../schema.ts'

/** A volume of a service as the leader and the reconciler need it. `nodeUid` is null until it is placed. */
export type ServiceVolume = {
  uid: VolumeUid
  name: string
  nodeUid: NodeUid | null
  /** Whether it was made on its node: from then on it has to be there. */
  made: boolean
}

/** The node on which a replica has to be, since a volume that it mounts is there; undefined when it may be anywhere. */
export function boundTo(
  template: Pick<RevisionTemplate, 'containers'>,
  volumes: readonly ServiceVolume[],
  nodeName: (uid: string) => string | undefined,
): { nodeId: string; node: string; volume: string } | undefined {
  for (const { name } of template.containers[0]?.volumes ?? []) {
    const nodeUid = volumes.find((volume) => volume.name === name)?.nodeUid
    if (nodeUid)
      return { nodeId: nodeUid, node: nodeName(nodeUid) ?? 'a node that was removed', volume: name }
  }
  return undefined
}

/** The volumes of services, or of one; those that are being deleted left out. */
export async function readServiceVolumes(
  db: Executor,
  only?: ServiceUid,
): Promise<(ServiceVolume & { serviceUid: ServiceUid })[]> {
  const rows = await db
    .select({
      uid: volumes.uid,
      name: volumes.name,
      nodeUid: volumes.nodeUid,
      made: sql<boolean>`${volumes.madeAt} is not null`,
      serviceUid: volumes.serviceUid,
    })
    .from(volumes)
    .where(
      and(
        only === undefined ? isNotNull(volumes.serviceUid) : eq(volumes.serviceUid, only),
        isNull(volumes.deletedAt),
      ),
    )
    .orderBy(asc(volumes.name))
  return rows as (ServiceVolume & { serviceUid: ServiceUid })[]
}

/**
 * Binds the volumes that a revision mounts to the node, which they never leave again. Part of a reservation, so that
 * two workers never bind one to two nodes. Null when they are there, else why not, for users.
 */
export async function bindVolumes(
  tx: Transaction,
  { serviceUid, revisionUid, nodeUid }: { serviceUid: string; revisionUid: string; nodeUid: string },
): Promise<string | null> {
  const [revision] = await tx
    .select({ template: revisions.template })
    .from(revisions)
    .where(eq(revisions.uid, revisionUid))
  const names = (revision?.template.containers[0]?.volumes ?? []).map(({ name }) => name)
  if (names.length === 0) return null
  const found = await tx
    .select({ name: volumes.name, nodeUid: volumes.nodeUid, node: nodes.name })
    .from(volumes)
    .leftJoin(nodes, eq(nodes.uid, volumes.nodeUid))
    .where(and(eq(volumes.serviceUid, serviceUid), inArray(volumes.name, names), isNull(volumes.deletedAt)))
    .orderBy(asc(volumes.name))
    .for('update', { of: volumes })
  const missing = names.find((name) => !found.some((volume) => volume.name === name))
  if (missing !== undefined) return `volume "${missing}" was deleted`
  const elsewhere = found.find((volume) => volume.nodeUid !== null && volume.nodeUid !== nodeUid)
  if (elsewhere !== undefined)
    return `volume "${elsewhere.name}" is on ${elsewhere.node === null ? 'a node that was removed' : `node "${elsewhere.node}"`}`
  await tx
    .update(volumes)
    .set({ nodeUid })
    .where(and(eq(volumes.serviceUid, serviceUid), inArray(volumes.name, names), isNull(volumes.nodeUid)))
  return null
}

/** Notes that a volume is on its node now. Throws `LeaseLostError`. */
export async function recordVolumeMade(db: Executor, lease: LeaseRef, uid: VolumeUid): Promise<void> {
  await withTransaction(db, async (tx) => {
    await requireLease(tx, lease)
    await tx
      .update(volumes)
      .set({ madeAt: sql`coalesce(${volumes.madeAt}, clock_timestamp())` })
      .where(eq(volumes.uid, uid))
  })
}

/** Deleted, or written by a restore that has come to no end. */
const isGivenUp = or(isNotNull(volumes.deletedAt), lt(volumes.restoringUntil, sql`clock_timestamp()`))

/** Volumes that were deleted and may still have data on a node. `nodeUid` is null when that node was removed. */
export async function readDeletedVolumes(
  db: Executor,
): Promise<{ uid: VolumeUid; nodeUid: NodeUid | null }[]> {
  const rows = await db
    .select({ uid: volumes.uid, nodeUid: nodes.uid })
    .from(volumes)
    .leftJoin(nodes, eq(nodes.uid, volumes.nodeUid))
    .where(isGivenUp)
  return rows as { uid: VolumeUid; nodeUid: NodeUid | null }[]
}

/** The data is gone: nothing is left of the volume. No effect when the lease is lost. */
export async function forgetVolume(db: Executor, lease: LeaseRef, uid: VolumeUid): Promise<void> {
  await db.delete(volumes).where(and(eq(volumes.uid, uid), isGivenUp, leaseHeld(lease)))
}
