import { asc, eq, gt, sql } from 'drizzle-orm'
import type { Executor, Transaction } from '../connection.ts'
import { pools } from '../schema.ts'
import type { Page } from './page.ts'
import { rowOf } from './row-of.ts'

export type PoolRow = typeof pools.$inferSelect
export type DesiredPool = Pick<PoolRow, 'strategy' | 'overcommitCpu' | 'labels'>

export async function findPool(db: Executor, name: string): Promise<PoolRow | undefined> {
  const rows = await db.select().from(pools).where(eq(pools.name, name))
  return rows[0]
}

/** Locks the row until the transaction ends. */
export async function findPoolForUpdate(tx: Transaction, name: string): Promise<PoolRow | undefined> {
  const rows = await tx.select().from(pools).where(eq(pools.name, name)).for('update')
  return rows[0]
}

/** By name. */
export async function listPools(db: Executor, page: Page): Promise<PoolRow[]> {
  return await db
    .select()
    .from(pools)
    .where(page.after === undefined ? undefined : gt(pools.name, page.after))
    .orderBy(asc(pools.name))
    .limit(page.limit)
}

/** Throws `UniqueViolationError` when the name is taken. */
export async function insertPool(db: Executor, pool: DesiredPool & { name: string }): Promise<PoolRow> {
  return rowOf(await db.insert(pools).values(pool).returning())
}

/** Takes the given columns over and counts the generation up. */
export async function updatePool(db: Executor, name: string, change: Partial<DesiredPool>): Promise<PoolRow> {
  const rows = await db
    .update(pools)
    .set({ ...change, generation: sql`${pools.generation} + 1`, updatedAt: sql`clock_timestamp()` })
    .where(eq(pools.name, name))
    .returning()
  return rowOf(rows)
}
