import { lt, notInArray, sql } from 'drizzle-orm'
import { withTransaction, type Executor } from '../connection.ts'
import { requireLease, type LeaseRef } from '../leases.ts'
import { leaderAddress, routers } from '../schema.ts'

export type RouterMember = { id: string; incarnation: string; adminPort: number }

/**
 * The routers that the leader before knew, for the next one to wait for, however long ago that was: one that is still
 * there serves from an old table.
 */
export async function readRouters(db: Executor): Promise<RouterMember[]> {
  return await db
    .select({ id: routers.id, incarnation: routers.incarnation, adminPort: routers.adminPort })
    .from(routers)
}

/** Makes the rows those of the routers that the leader knows. Throws `LeaseLostError`. */
export async function writeRouters(
  db: Executor,
  lease: LeaseRef,
  members: readonly RouterMember[],
): Promise<void> {
  const lastSeenAt = sql`clock_timestamp()`
  await withTransaction(db, async (tx) => {
    await requireLease(tx, lease)
    for (const member of members)
      await tx
        .insert(routers)
        .values({ ...member, lastSeenAt })
        .onConflictDoUpdate({ target: routers.id, set: { ...member, lastSeenAt } })
    const ids = members.map(({ id }) => id)
    await tx.delete(routers).where(ids.length > 0 ? notInArray(routers.id, ids) : undefined)
  })
}

/** Says where routers and the API find the leader. No effect when a newer one has said so. */
export async function writeLeaderAddress(
  db: Executor,
  lease: LeaseRef,
  address: { hubSocket: string; controlSocket: string },
): Promise<void> {
  await db
    .insert(leaderAddress)
    .values({ id: 1, epoch: lease.epoch, ...address })
    .onConflictDoUpdate({
      target: leaderAddress.id,
      set: { epoch: lease.epoch, ...address },
      setWhere: lt(leaderAddress.epoch, lease.epoch),
    })
}
