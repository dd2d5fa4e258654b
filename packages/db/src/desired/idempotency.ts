import { and, eq, lt, sql } from 'drizzle-orm'
import type { Transaction } from '../connection.ts'
import { idempotencyKeys } from '../schema.ts'

const keptHours = 24

export type IdempotencyScope = { projectUid: string; route: string; key: string }
/** `body` is sealed under the token that asked: answers carry environments and tokens. */
export type StoredAnswer = { bodyHash: string; status: number; headers: Record<string, string>; body: string }

/** True when this transaction now owns the key; false while the transaction of another request does. */
export async function claimIdempotencyKey(tx: Transaction, scope: IdempotencyScope): Promise<boolean> {
  const text = JSON.stringify([scope.projectUid, scope.route, scope.key])
  const result = await tx.execute<{ owned: boolean }>(
    sql`select pg_try_advisory_xact_lock(hashtextextended(${text}, 0)) as owned`,
  )
  return result.rows[0]?.owned === true
}

/** The answer of the first request with this key, if that was less than 24 h ago. */
export async function findStoredAnswer(
  tx: Transaction,
  scope: IdempotencyScope,
): Promise<StoredAnswer | undefined> {
  const same = sameKey(scope)
  await tx
    .delete(idempotencyKeys)
    .where(
      and(same, lt(idempotencyKeys.createdAt, sql`clock_timestamp() - make_interval(hours => ${keptHours})`)),
    )
  const rows = await tx.select().from(idempotencyKeys).where(same)
  return rows[0]
}

export async function storeAnswer(
  tx: Transaction,
  scope: IdempotencyScope,
  answer: StoredAnswer,
): Promise<void> {
  await tx.insert(idempotencyKeys).values({ ...scope, ...answer })
}

function sameKey({ projectUid, route, key }: IdempotencyScope) {
  return and(
    eq(idempotencyKeys.projectUid, projectUid),
    eq(idempotencyKeys.route, route),
    eq(idempotencyKeys.key, key),
  )
}
