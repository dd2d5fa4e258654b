import { and, asc, eq, gt, sql } from 'drizzle-orm'
import type { Executor } from '../connection.ts'
import { registries } from '../schema.ts'
import type { Page } from './page.ts'
import { rowOf } from './row-of.ts'

export type RegistryRow = Omit<typeof registries.$inferSelect, 'password'>

/** Seals and opens `registries.password` (plain text) under this purpose. */
export function registryPasswordPurpose(projectUid: string, host: string): string {
  return `registry:${projectUid}:${host}:password`
}

const columns = {
  projectUid: registries.projectUid,
  host: registries.host,
  username: registries.username,
  updatedAt: registries.updatedAt,
}

/** By host. */
export async function listRegistries(db: Executor, projectUid: string, page: Page): Promise<RegistryRow[]> {
  return await db
    .select(columns)
    .from(registries)
    .where(
      and(
        eq(registries.projectUid, projectUid),
        page.after === undefined ? undefined : gt(registries.host, page.after),
      ),
    )
    .orderBy(asc(registries.host))
    .limit(page.limit)
}

export async function findRegistry(
  db: Executor,
  projectUid: string,
  host: string,
): Promise<RegistryRow | undefined> {
  const rows = await db
    .select(columns)
    .from(registries)
    .where(and(eq(registries.projectUid, projectUid), eq(registries.host, host)))
  return rows[0]
}

/** Makes or replaces the credentials of a host; `password` is sealed. */
export async function putRegistry(
  db: Executor,
  registry: { projectUid: string; host: string; username: string; password: Buffer },
): Promise<RegistryRow> {
  const { username, password } = registry
  const rows = await db
    .insert(registries)
    .values(registry)
    .onConflictDoUpdate({
      target: [registries.projectUid, registries.host],
      set: { username, password, updatedAt: sql`clock_timestamp()` },
    })
    .returning(columns)
  return rowOf(rows)
}

/** False when there were none. */
export async function deleteRegistry(db: Executor, projectUid: string, host: string): Promise<boolean> {
  const rows = await db
    .delete(registries)
    .where(and(eq(registries.projectUid, projectUid), eq(registries.host, host)))
    .returning({ host: registries.host })
  return rows.length === 1
}
