import { newId } from '@berth/contracts'
import { asc, count, eq, gt } from 'drizzle-orm'
import type { Executor, Transaction } from '../connection.ts'
import { projects, registries, services, tokens, volumes } from '../schema.ts'
import type { Page } from './page.ts'
import { rowOf } from './row-of.ts'

export type ProjectRow = typeof projects.$inferSelect

export async function findProject(db: Executor, name: string): Promise<ProjectRow | undefined> {
  const rows = await db.select().from(projects).where(eq(projects.name, name))
  return rows[0]
}

/** By name. */
export async function listProjects(db: Executor, page: Page): Promise<ProjectRow[]> {
  return await db
    .select()
    .from(projects)
    .where(page.after === undefined ? undefined : gt(projects.name, page.after))
    .orderBy(asc(projects.name))
    .limit(page.limit)
}

/** Throws `UniqueViolationError` when the name is taken. */
export async function insertProjectRow(db: Executor, name: string): Promise<ProjectRow> {
  const rows = await db
    .insert(projects)
    .values({ uid: newId('ProjectUid'), name })
    .returning()
  return rowOf(rows)
}

/**
 * Takes away a project that has no services and no volumes, with its tokens and registry credentials. Null when it is
 * gone, else what it still has. A service made at the same moment waits for the row, then finds no project.
 */
export async function deleteProject(tx: Transaction, uid: string): Promise<'services' | 'volumes' | null> {
  await tx.select().from(projects).where(eq(projects.uid, uid)).for('update')
  const [used] = await tx.select({ count: count() }).from(services).where(eq(services.projectUid, uid))
  if (used !== undefined && used.count > 0) return 'services'
  const [kept] = await tx.select({ count: count() }).from(volumes).where(eq(volumes.projectUid, uid))
  if (kept !== undefined && kept.count > 0) return 'volumes'
  await tx.delete(registries).where(eq(registries.projectUid, uid))
  await tx.delete(tokens).where(eq(tokens.projectUid, uid))
  await tx.delete(projects).where(eq(projects.uid, uid))
  return null
}
