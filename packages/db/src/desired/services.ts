import { newId, type ServiceUid } from '@berth/contracts'
import { and, asc, eq, gt, inArray, sql } from 'drizzle-orm'
import type { Executor, Transaction } from '../connection.ts'
import { deployments, replicas, services, serviceStatus } from '../schema.ts'
import type { Page } from './page.ts'
import { rowOf } from './row-of.ts'

export type ServiceRow = typeof services.$inferSelect
export type ServiceStatusRow = typeof serviceStatus.$inferSelect

/** What a user may set; `uid` is made by the caller since the environment is sealed for it. */
export type DesiredService = Pick<
  ServiceRow,
  | 'template'
  | 'env'
  | 'minScale'
  | 'maxScale'
  | 'idle'
  | 'traffic'
  | 'pinnedRevision'
  | 'rollout'
  | 'revisionHistoryLimit'
  | 'sessionAffinity'
  | 'labels'
  | 'annotations'
>

/**
 * How many replicas of a service are where on the ladder; those that drain or failed do not count. `desired` is what
 * should run: what does or is being started, and at least `minScale` also where no place is found for it.
 */
export type ReplicaCounts = { desired: number; running: number; frozen: number; parked: number }

/** A service with what is observed of it; `deploymentId` is its newest deployment. */
export type ServicePicture = {
  service: ServiceRow
  status: ServiceStatusRow | null
  deploymentId: string | null
  replicas: ReplicaCounts
}

/** Seals and opens `services.env` (JSON object) under this purpose. */
export function serviceEnvPurpose(uid: string): string {
  return `service:${uid}:env`
}

/** Locks the row until the transaction ends. */
export async function findServiceForUpdate(
  tx: Transaction,
  projectUid: string,
  name: string,
): Promise<ServiceRow | undefined> {
  const rows = await tx
    .select()
    .from(services)
    .where(and(eq(services.projectUid, projectUid), eq(services.name, name)))
    .for('update')
  return rows[0]
}

export async function findService(
  db: Executor,
  projectUid: string,
  name: string,
): Promise<ServicePicture | undefined> {
  const rows = await db
    .select({ service: services, status: serviceStatus })
    .from(services)
    .leftJoin(serviceStatus, eq(serviceStatus.serviceUid, services.uid))
    .where(and(eq(services.projectUid, projectUid), eq(services.name, name)))
  return (await withObserved(db, rows))[0]
}

/** By name. */
export async function listServices(db: Executor, projectUid: string, page: Page): Promise<ServicePicture[]> {
  const rows = await db
    .select({ service: services, status: serviceStatus })
    .from(services)
    .leftJoin(serviceStatus, eq(serviceStatus.serviceUid, services.uid))
    .where(
      and(
        eq(services.projectUid, projectUid),
        page.after === undefined ? undefined : gt(services.name, page.after),
      ),
    )
    .orderBy(asc(services.name))
    .limit(page.limit)
  return await withObserved(db, rows)
}

/** Throws `UniqueViolationError` when the name is taken. */
export async function insertServiceRow(
  tx: Transaction,
  service: DesiredService & {
    uid: ServiceUid
    projectUid: string
    name: string
    createdBy: string
  },
): Promise<ServiceRow> {
  const row = rowOf(await tx.insert(services).values(service).returning())
  await tx.insert(serviceStatus).values({ serviceUid: row.uid })
  return row
}

/** Takes the given columns over and counts the generation up. */
export async function updateServiceRow(
  tx: Transaction,
  uid: string,
  change: Partial<DesiredService>,
): Promise<ServiceRow> {
  const rows = await tx
    .update(services)
    .set({ ...change, generation: sql`${services.generation} + 1`, updatedAt: sql`clock_timestamp()` })
    .where(eq(services.uid, uid))
    .returning()
  return rowOf(rows)
}

/** The worker takes everything down, then the row itself. */
export async function markServiceDeleted(tx: Transaction, uid: string): Promise<ServiceRow> {
  const rows = await tx
    .update(services)
    .set({
      deletedAt: sql`coalesce(${services.deletedAt}, clock_timestamp())`,
      generation: sql`${services.generation} + 1`,
      updatedAt: sql`clock_timestamp()`,
    })
    .where(eq(services.uid, uid))
    .returning()
  return rowOf(rows)
}

export function newServiceUid(): ServiceUid {
  return newId('ServiceUid')
}

async function withObserved(
  db: Executor,
  rows: { service: ServiceRow; status: ServiceStatusRow | null }[],
): Promise<ServicePicture[]> {
  const uids = rows.map(({ service }) => service.uid)
  if (uids.length === 0) return []
  const newest = await db
    .selectDistinctOn([deployments.serviceUid], { serviceUid: deployments.serviceUid, id: deployments.id })
    .from(deployments)
    .where(inArray(deployments.serviceUid, uids))
    .orderBy(deployments.serviceUid, sql`${deployments.generation} desc`)
  const countIf = (condition: ReturnType<typeof sql>) =>
    sql<number>`(count(*) filter (where ${condition}))::int`
  const counted = await db
    .select({
      serviceUid: replicas.serviceUid,
      desired: countIf(sql`${replicas.rung} = 'running'`),
      running: countIf(sql`${replicas.rung} = 'running' and ${replicas.state} = 'ready'`),
      frozen: countIf(sql`${replicas.rung} = 'frozen'`),
      parked: countIf(sql`${replicas.rung} = 'parked'`),
    })
    .from(replicas)
    .where(and(inArray(replicas.serviceUid, uids), inArray(replicas.state, ['starting', 'ready'])))
    .groupBy(replicas.serviceUid)
  const deploymentIds = new Map(newest.map(({ serviceUid, id }) => [serviceUid, id]))
  const counts = new Map(counted.map(({ serviceUid, ...count }) => [serviceUid, count]))
  return rows.map(({ service, status }) => ({
    service,
    status,
    deploymentId: deploymentIds.get(service.uid) ?? null,
    replicas: countsOf(service, counts.get(service.uid)),
  }))
}

function countsOf(
  { minScale, deletedAt }: ServiceRow,
  counted: ReplicaCounts = { desired: 0, running: 0, frozen: 0, parked: 0 },
): ReplicaCounts {
  const always = deletedAt === null ? minScale : 0
  return { ...counted, desired: Math.max(counted.desired, always) }
}
