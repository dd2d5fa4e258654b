import { and, gte, lt, notInArray, sql } from 'drizzle-orm'
import type { Executor } from '../connection.ts'
import { leaseHeld, type LeaseRef } from '../leases.ts'
import { leaderAddress, routers } from '../schema.ts'

export type RouterMember = { id: string; incarnation: string; adminPort: number }

/** Longer than a leader waits for a silent router: who was not heard for this long is waited for by nobody. */
const forgottenAfter = sql`clock_timestamp() - interval '15 seconds'`

/** The routers that an earlier leader heard of lately, for the next one to wait for. */
export async function readRouters(db: Executor): Promise<RouterMember[]> {
  return await db
    .select({ id: routers.id, incarnation: routers.incarnation, adminPort: routers.adminPort })
    .from(routers)
    .where(gte(routers.lastSeenAt, forgottenAfter))
}

/**
 * Writes the routers that the leader has heard, and drops who was silent for 15 s. Routers that it only knows from
 * its predecessor are not among `members`: else one that is gone would be handed on for ever. No effect when the
 * lease is lost.
 */
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
