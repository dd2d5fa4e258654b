import { and, eq, sql, type SQL } from 'drizzle-orm'
import type { Executor, Transaction } from './connection.ts'
import { leases } from './schema.ts'

/*
 * A lease says who may act now. Every new holder gets a higher epoch; what an earlier one still writes is refused
 * by comparing the epoch in the same transaction. All times are the database's.
 */

/** A lease as its holder knows it: `leader`, or `service:<uid>`. */
export type LeaseRef = { readonly name: string; readonly holder: string; readonly epoch: number }

/** Somebody else holds the lease now, or nobody: whoever meets this stops acting at once. */
export class LeaseLostError extends Error {
  constructor(lease: LeaseRef) {
    super(`the lease "${lease.name}" of epoch ${lease.epoch} is lost`)
    this.name = 'LeaseLostError'
  }
}

export const leaderLeaseName = 'leader'

export function serviceLeaseName(serviceUid: string): string {
  return `service:${serviceUid}`
}

const after = (ms: number) => sql`clock_timestamp() + make_interval(secs => ${ms / 1000})`

/** Takes the lease when it is free or run out. Null while another holder has it. */
export async function acquireLease(
  db: Executor,
  name: string,
  holder: string,
  durationMs: number,
): Promise<LeaseRef | null> {
  const rows = await db
    .insert(leases)
    .values({ name, holder, epoch: 1, expiresAt: after(durationMs) })
    .onConflictDoUpdate({
      target: leases.name,
      set: { holder, epoch: sql`${leases.epoch} + 1`, expiresAt: after(durationMs) },
      setWhere: sql`${leases.holder} is null or ${leases.expiresAt} <= clock_timestamp()`,
    })
    .returning({ epoch: leases.epoch })
  return rows[0] === undefined ? null : { name, holder, epoch: rows[0].epoch }
}

/** False when somebody else took it; true also when it had run out and nobody did. */
export async function renewLease(db: Executor, lease: LeaseRef, durationMs: number): Promise<boolean> {
  const rows = await db
    .update(leases)
    .set({ expiresAt: after(durationMs) })
    .where(sameLease(lease))
    .returning({ epoch: leases.epoch })
  return rows.length === 1
}

/** Gives the lease back, so that the next one need not wait until it runs out. */
export async function releaseLease(db: Executor, lease: LeaseRef): Promise<void> {
  await db
    .update(leases)
    .set({ holder: null, expiresAt: sql`clock_timestamp()` })
    .where(sameLease(lease))
}

/** The same, and lifts it: the next holder gets an epoch above `epoch`. False when the lease was lost already. */
export async function releaseLeaseAbove(db: Executor, lease: LeaseRef, epoch: number): Promise<boolean> {
  const rows = await db
    .update(leases)
    .set({
      holder: null,
      epoch: sql`greatest(${leases.epoch}, ${epoch}::bigint)`,
      expiresAt: sql`clock_timestamp()`,
    })
    .where(sameLease(lease))
    .returning({ epoch: leases.epoch })
  return rows.length === 1
}

/** Who holds the lease now, null when nobody does. */
export async function readLease(db: Executor, name: string): Promise<LeaseRef | null> {
  const rows = await db
    .select()
    .from(leases)
    .where(and(eq(leases.name, name), sql`${leases.expiresAt} > clock_timestamp()`))
  const row = rows[0]
  if (row === undefined || row.holder === null) return null
  return { name, holder: row.holder, epoch: row.epoch }
}

/**
 * Throws `LeaseLostError` unless the lease is still the holder's; a take-over waits until the transaction ends.
 * Call it first in a transaction.
 */
export async function requireLease(tx: Transaction, lease: LeaseRef): Promise<void> {
  const rows = await tx.select({ epoch: leases.epoch }).from(leases).where(sameLease(lease)).for('share')
  if (rows.length === 0) throw new LeaseLostError(lease)
}

/** The same as a condition of a single statement; no row changes when the lease is lost. */
export function leaseHeld(lease: LeaseRef): SQL {
  return sql`exists (select 1 from ${leases} where ${sameLease(lease)})`
}

/** The lease's row as long as it is the holder's. */
export function sameLease(lease: LeaseRef): SQL | undefined {
  return and(eq(leases.name, lease.name), eq(leases.holder, lease.holder), eq(leases.epoch, lease.epoch))
}
