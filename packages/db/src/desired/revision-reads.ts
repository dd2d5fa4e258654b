import { and, desc, eq, inArray, isNotNull, lt, min } from 'drizzle-orm'
import type { Executor } from '../connection.ts'
import { revisions } from '../schema.ts'

export type RevisionRow = Omit<typeof revisions.$inferSelect, 'env'>

const columns = {
  uid: revisions.uid,
  serviceUid: revisions.serviceUid,
  number: revisions.number,
  name: revisions.name,
  template: revisions.template,
  contentHash: revisions.contentHash,
  imageRepository: revisions.imageRepository,
  imageDigest: revisions.imageDigest,
  architectures: revisions.architectures,
  createdAt: revisions.createdAt,
  readyAt: revisions.readyAt,
  failure: revisions.failure,
  startMs: revisions.startMs,
}

/** Newest first; `before` is the number of the last one on the page before. */
export async function listServiceRevisions(
  db: Executor,
  serviceUid: string,
  page: { limit: number; before?: number },
): Promise<RevisionRow[]> {
  return await db
    .select(columns)
    .from(revisions)
    .where(
      and(
        eq(revisions.serviceUid, serviceUid),
        page.before === undefined ? undefined : lt(revisions.number, page.before),
      ),
    )
    .orderBy(desc(revisions.number))
    .limit(page.limit)
}

export async function findServiceRevision(
  db: Executor,
  serviceUid: string,
  name: string,
): Promise<RevisionRow | undefined> {
  const rows = await db
    .select(columns)
    .from(revisions)
    .where(and(eq(revisions.serviceUid, serviceUid), eq(revisions.name, name)))
  return rows[0]
}

/** Which of `names` are revisions of the service, and whether each was ready once. */
export async function readyByName(
  db: Executor,
  serviceUid: string,
  names: readonly string[],
): Promise<Map<string, boolean>> {
  if (names.length === 0) return new Map()
  const rows = await db
    .select({ name: revisions.name, readyAt: revisions.readyAt })
    .from(revisions)
    .where(and(eq(revisions.serviceUid, serviceUid), inArray(revisions.name, [...names])))
  return new Map(rows.map(({ name, readyAt }) => [name, readyAt !== null]))
}

/** The number of the oldest of `names`, undefined when none of them is there. */
export async function oldestRevisionNumber(
  db: Executor,
  serviceUid: string,
  names: readonly string[],
): Promise<number | undefined> {
  if (names.length === 0) return undefined
  const rows = await db
    .select({ number: min(revisions.number) })
    .from(revisions)
    .where(and(eq(revisions.serviceUid, serviceUid), inArray(revisions.name, [...names])))
  return rows[0]?.number ?? undefined
}

/** The newest revision with a number below `before` that was ready once. */
export async function newestReadyRevision(
  db: Executor,
  serviceUid: string,
  before: number,
): Promise<RevisionRow | undefined> {
  const rows = await db
    .select(columns)
    .from(revisions)
    .where(
      and(eq(revisions.serviceUid, serviceUid), isNotNull(revisions.readyAt), lt(revisions.number, before)),
    )
    .orderBy(desc(revisions.number))
    .limit(1)
  return rows[0]
}
