import { and, lt, notInArray, sql } from 'drizzle-orm'
import type { Executor } from '../connection.ts'
import { leaseHeld, type LeaseRef } from '../leases.ts'
import { leaderAddress, routers } from '../schema.ts'

export type RouterMember = { id: string; incarnation: string; adminPort: number }

const forgottenAfter = sql`clock_timestamp() - interval '1 minute'`

/** Writes who the leader knows, and drops who has not been there for a minute. No effect when the lease is lost. */
export async function writeRouters(
  db: Executor,
  lease: LeaseRef,
  members: readonly RouterMember[],
): Promise<void> {
  const now = new Date()
  for (const member of members) {
    await db
      .insert(routers)
      .values({ ...member, lastSeenAt: now })
      .onConflictDoUpdate({
        target: routers.id,
        set: { ...member, lastSeenAt: now },
        setWhere: leaseHeld(lease),
      })
  }
  const ids = members.map((member) => member.id)
  await db
    .delete(routers)
    .where(
      and(
        lt(routers.lastSeenAt, forgottenAfter),
        ids.length > 0 ? notInArray(routers.id, ids) : undefined,
        leaseHeld(lease),
      ),
    )
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
