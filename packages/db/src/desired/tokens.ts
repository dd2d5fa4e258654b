import { newId } from '@berth/contracts'
import { and, asc, eq, gt, isNull, lt, or, sql } from 'drizzle-orm'
import type { Executor } from '../connection.ts'
import { projects, tokens } from '../schema.ts'
import type { Page } from './page.ts'
import { rowOf } from './row-of.ts'

export type TokenRow = Omit<typeof tokens.$inferSelect, 'hash'> & { projectName: string }

const columns = {
  id: tokens.id,
  name: tokens.name,
  scope: tokens.scope,
  projectUid: tokens.projectUid,
  projectName: projects.name,
  createdAt: tokens.createdAt,
  expiresAt: tokens.expiresAt,
  revokedAt: tokens.revokedAt,
  lastUsedAt: tokens.lastUsedAt,
}

/** Neither revoked nor expired on the database's clock. */
const valid = and(
  isNull(tokens.revokedAt),
  or(isNull(tokens.expiresAt), gt(tokens.expiresAt, sql`clock_timestamp()`)),
)

/** The valid token with this SHA-256 (hex). */
export async function findValidToken(db: Executor, hash: string): Promise<TokenRow | undefined> {
  const rows = await db
    .select(columns)
    .from(tokens)
    .innerJoin(projects, eq(projects.uid, tokens.projectUid))
    .where(and(eq(tokens.hash, hash), valid))
  return rows[0]
}

export async function isValidToken(db: Executor, id: string): Promise<boolean> {
  const rows = await db
    .select({ id: tokens.id })
    .from(tokens)
    .where(and(eq(tokens.id, id), valid))
  return rows.length === 1
}

/** Remembers that the token was used, at most once a minute. */
export async function touchToken(db: Executor, id: string): Promise<void> {
  await db
    .update(tokens)
    .set({ lastUsedAt: sql`clock_timestamp()` })
    .where(
      and(
        eq(tokens.id, id),
        or(
          isNull(tokens.lastUsedAt),
          lt(tokens.lastUsedAt, sql`clock_timestamp() - make_interval(mins => 1)`),
        ),
      ),
    )
}

export type NewToken = {
  name: string
  scope: 'project' | 'platform'
  projectUid: string
  hash: string
  expiresAt: Date | null
}

export async function insertToken(
  db: Executor,
  token: NewToken,
): Promise<Omit<typeof tokens.$inferSelect, 'hash'>> {
  const rows = await db
    .insert(tokens)
    .values({ id: newId('TokenId'), ...token })
    .returning()
  const { hash: _, ...row } = rowOf(rows)
  return row
}

/** The first platform token: inserted unless a token of this hash is there. True when it was inserted. */
export async function ensureToken(db: Executor, token: NewToken): Promise<boolean> {
  const rows = await db
    .insert(tokens)
    .values({ id: newId('TokenId'), ...token })
    .onConflictDoNothing()
    .returning({ id: tokens.id })
  return rows.length === 1
}

/** Tokens of a project that are not revoked, by id; those of the platform only when asked for. */
export async function listTokens(
  db: Executor,
  projectUid: string,
  page: Page & { withPlatform: boolean },
): Promise<TokenRow[]> {
  return await db
    .select(columns)
    .from(tokens)
    .innerJoin(projects, eq(projects.uid, tokens.projectUid))
    .where(
      and(
        eq(tokens.projectUid, projectUid),
        isNull(tokens.revokedAt),
        page.withPlatform ? undefined : eq(tokens.scope, 'project'),
        page.after === undefined ? undefined : gt(tokens.id, page.after),
      ),
    )
    .orderBy(asc(tokens.id))
    .limit(page.limit)
}

/** A token of the project that is not revoked. */
export async function findToken(db: Executor, projectUid: string, id: string): Promise<TokenRow | undefined> {
  const rows = await db
    .select(columns)
    .from(tokens)
    .innerJoin(projects, eq(projects.uid, tokens.projectUid))
    .where(and(eq(tokens.projectUid, projectUid), eq(tokens.id, id), isNull(tokens.revokedAt)))
  return rows[0]
}

/** In force with the commit: every request looks the token up. */
export async function revokeToken(db: Executor, id: string): Promise<void> {
  await db
    .update(tokens)
    .set({ revokedAt: sql`clock_timestamp()` })
    .where(eq(tokens.id, id))
}
