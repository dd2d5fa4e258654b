import { newId } from '@berth/contracts'
import { and, asc, eq, gt, isNull, sql } from 'drizzle-orm'
import type { Executor, Transaction } from '../connection.ts'
import { nodes, replicas, revisions, services, volumes } from '../schema.ts'
import type { Page } from './page.ts'
import { rowOf } from './row-of.ts'

export type VolumeRow = typeof volumes.$inferSelect

/** A volume with the names of what it belongs to. `node` is null too when its node was removed. */
export type VolumePicture = { volume: VolumeRow; service: string | null; node: string | null }

/** Why a service cannot have a volume. */
export type ClaimRefusal = { name: string; because: 'being-deleted' | 'being-restored' | { usedBy: string } }

/**
 * Makes the volumes that a service names, or gives it those that belong to nobody. All or none: what is refused, and
 * why, empty when the service has them.
 */
export async function claimVolumes(
  tx: Transaction,
  owner: { projectUid: string; serviceUid: string },
  names: readonly string[],
): Promise<ClaimRefusal[]> {
  const refusals: ClaimRefusal[] = []
  // In one order for everybody, so that two services that want the same ones do not wait for each other.
  for (const name of [...names].sort()) {
    await tx
      .insert(volumes)
      .values({ uid: newId('VolumeUid'), name, ...owner })
      .onConflictDoNothing()
    const volume = rowOf(await tx.select().from(volumes).where(named(owner.projectUid, name)).for('update'))
    if (volume.deletedAt !== null) refusals.push({ name, because: 'being-deleted' })
    else if (volume.restoringUntil !== null) refusals.push({ name, because: 'being-restored' })
    else if (volume.serviceUid === null)
      await tx.update(volumes).set({ serviceUid: owner.serviceUid }).where(eq(volumes.uid, volume.uid))
    else if (volume.serviceUid !== owner.serviceUid)
      refusals.push({ name, because: { usedBy: await nameOfService(tx, volume.serviceUid) } })
  }
  return refusals
}

export async function findVolume(
  db: Executor,
  projectUid: string,
  name: string,
): Promise<VolumePicture | undefined> {
  return (await pictures(db).where(named(projectUid, name)))[0]
}

/** Locks the row until the transaction ends. */
export async function findVolumeForUpdate(
  tx: Transaction,
  projectUid: string,
  name: string,
): Promise<VolumeRow | undefined> {
  return (await tx.select().from(volumes).where(named(projectUid, name)).for('update'))[0]
}

/** By name. */
export async function listVolumes(db: Executor, projectUid: string, page: Page): Promise<VolumePicture[]> {
  return await pictures(db)
    .where(
      and(
        eq(volumes.projectUid, projectUid),
        page.after === undefined ? undefined : gt(volumes.name, page.after),
      ),
    )
    .orderBy(asc(volumes.name))
    .limit(page.limit)
}

/** The names of volumes whose data is on the node, those that are being deleted left out. */
export async function volumesOnNode(tx: Transaction, nodeUid: string): Promise<string[]> {
  const rows = await tx
    .select({ name: volumes.name })
    .from(volumes)
    .where(and(eq(volumes.nodeUid, nodeUid), isNull(volumes.deletedAt)))
    .orderBy(asc(volumes.name))
  return rows.map(({ name }) => name)
}

/** The service that still needs the volume: by its template, or by a replica that is there; undefined when none does. */
export async function userOfVolume(tx: Transaction, volume: VolumeRow): Promise<string | undefined> {
  if (volume.serviceUid === null) return undefined
  const names = sql`jsonb_build_array(jsonb_build_object('name', ${volume.name}::text))`
  const mounts = (template: unknown) => sql`${template}->'containers'->0->'volumes' @> ${names}`
  const replica = tx
    .select({ id: replicas.id })
    .from(replicas)
    .innerJoin(revisions, eq(revisions.uid, replicas.revisionUid))
    .where(and(eq(replicas.serviceUid, services.uid), mounts(revisions.template)))
  const rows = await tx
    .select({ name: services.name })
    .from(services)
    .where(and(eq(services.uid, volume.serviceUid), sql`(${mounts(services.template)} or exists ${replica})`))
  return rows[0]?.name
}

/** The leader removes it from its node, then the row; one that was never placed is gone at once. */
export async function markVolumeDeleted(tx: Transaction, uid: string): Promise<void> {
  await tx
    .update(volumes)
    .set({ deletedAt: sql`coalesce(${volumes.deletedAt}, clock_timestamp())` })
    .where(eq(volumes.uid, uid))
  await tx.delete(volumes).where(and(eq(volumes.uid, uid), sql`${volumes.nodeUid} is null`))
}

/** How long a restore goes on that nobody puts off any more. */
const restoreForSeconds = 120
const restoringUntil = sql`clock_timestamp() + make_interval(secs => ${restoreForSeconds})`

/** A volume on a node that belongs to nobody yet and is being written. Null when the name is taken. */
export async function beginRestore(
  db: Executor,
  volume: { projectUid: string; name: string; nodeUid: string },
): Promise<VolumeRow | null> {
  const rows = await db
    .insert(volumes)
    .values({ uid: newId('VolumeUid'), ...volume, restoringUntil })
    .onConflictDoNothing()
    .returning()
  return rows[0] ?? null
}

/** To be called more often than every two minutes while a restore goes on. */
export async function putRestoreOff(db: Executor, uid: string): Promise<void> {
  await db
    .update(volumes)
    .set({ restoringUntil })
    .where(and(eq(volumes.uid, uid), sql`${volumes.restoringUntil} > clock_timestamp()`))
}

/** All of it is there. False when it was given up meanwhile. */
export async function endRestore(db: Executor, uid: string): Promise<boolean> {
  const rows = await db
    .update(volumes)
    .set({ restoringUntil: null, madeAt: sql`clock_timestamp()` })
    .where(
      and(
        eq(volumes.uid, uid),
        isNull(volumes.deletedAt),
        sql`${volumes.restoringUntil} > clock_timestamp()`,
      ),
    )
    .returning({ uid: volumes.uid })
  return rows.length > 0
}

/** What was written so far is removed by the leader. */
export async function giveRestoreUp(db: Executor, uid: string): Promise<void> {
  await db
    .update(volumes)
    .set({ deletedAt: sql`clock_timestamp()` })
    .where(eq(volumes.uid, uid))
}

function pictures(db: Executor) {
  return db
    .select({ volume: volumes, service: services.name, node: nodes.name })
    .from(volumes)
    .leftJoin(services, eq(services.uid, volumes.serviceUid))
    .leftJoin(nodes, eq(nodes.uid, volumes.nodeUid))
}

function named(projectUid: string, name: string) {
  return and(eq(volumes.projectUid, projectUid), eq(volumes.name, name))
}

async function nameOfService(tx: Transaction, uid: string): Promise<string> {
  return rowOf(await tx.select({ name: services.name }).from(services).where(eq(services.uid, uid))).name
}
