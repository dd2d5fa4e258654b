import { newId, type DeploymentTrigger } from '@berth/contracts'
import { and, asc, desc, eq, gt, isNull, lt, sql } from 'drizzle-orm'
import type { Executor, Transaction } from '../connection.ts'
import { deploymentEvents, deployments, services } from '../schema.ts'
import { rowOf } from './row-of.ts'

export type DeploymentRow = typeof deployments.$inferSelect
export type DeploymentEventRow = typeof deploymentEvents.$inferSelect

/**
 * Asks the worker to deploy the service as it is now; its newer generation supersedes open deployments.
 * `revisionSuffix` names the revision.
 */
export async function requestDeployment(
  tx: Transaction,
  service: typeof services.$inferSelect,
  trigger: DeploymentTrigger,
  createdBy: string,
  revisionSuffix: string | null = null,
): Promise<DeploymentRow> {
  const rows = await tx
    .insert(deployments)
    .values({
      id: newId('DeploymentId'),
      projectUid: service.projectUid,
      serviceUid: service.uid,
      serviceName: service.name,
      generation: service.generation,
      trigger,
      createdBy,
      revisionSuffix,
    })
    .returning()
  const deployment = rowOf(rows)
  await tx.insert(deploymentEvents).values({
    deploymentId: deployment.id,
    phase: 'queued',
    message: 'The deployment was accepted.',
  })
  return deployment
}

export async function findDeployment(
  db: Executor,
  projectUid: string,
  id: string,
): Promise<DeploymentRow | undefined> {
  const rows = await db
    .select()
    .from(deployments)
    .where(and(eq(deployments.projectUid, projectUid), eq(deployments.id, id)))
  return rows[0]
}

/** Newest first; `before` is the generation of the last one on the page before. */
export async function listDeployments(
  db: Executor,
  serviceUid: string,
  page: { limit: number; before?: number },
): Promise<DeploymentRow[]> {
  return await db
    .select()
    .from(deployments)
    .where(
      and(
        eq(deployments.serviceUid, serviceUid),
        page.before === undefined ? undefined : lt(deployments.generation, page.before),
      ),
    )
    .orderBy(desc(deployments.generation))
    .limit(page.limit)
}

/** Events behind the one with id `after`, oldest first. */
export async function listDeploymentEvents(
  db: Executor,
  deploymentId: string,
  after: number,
  limit: number,
): Promise<DeploymentEventRow[]> {
  return await db
    .select()
    .from(deploymentEvents)
    .where(and(eq(deploymentEvents.deploymentId, deploymentId), gt(deploymentEvents.id, after)))
    .orderBy(asc(deploymentEvents.id))
    .limit(limit)
}

/** The row with the wish written down, undefined when the deployment had ended already. */
export async function requestCancel(tx: Transaction, id: string): Promise<DeploymentRow | undefined> {
  const rows = await tx
    .update(deployments)
    .set({ cancelRequestedAt: sql`coalesce(${deployments.cancelRequestedAt}, clock_timestamp())` })
    .where(and(eq(deployments.id, id), isNull(deployments.finishedAt)))
    .returning()
  return rows[0]
}

/** The revision that the rollout under way takes the traffic from; undefined when none is, or all has moved. */
export async function findPreviousOfRollout(db: Executor, serviceUid: string): Promise<string | undefined> {
  const [newest] = await db
    .select({ rollout: deployments.rollout })
    .from(deployments)
    .where(and(eq(deployments.serviceUid, serviceUid), isNull(deployments.finishedAt)))
    .orderBy(desc(deployments.generation))
    .limit(1)
  const rollout = newest?.rollout
  return rollout && rollout.percent < 100 ? (rollout.previous ?? undefined) : undefined
}

/** What users may ask of a deployment on its way. */
export type DeploymentWish = Partial<
  Pick<typeof deployments.$inferInsert, 'pausedAt' | 'promoteFrom' | 'promoteTo' | 'abortRequestedAt'>
>

/** The deployment, locked until the transaction ends, and its service; undefined when there is none. */
export async function findDeploymentForUpdate(
  tx: Transaction,
  projectUid: string,
  id: string,
): Promise<{ deployment: DeploymentRow; service: typeof services.$inferSelect } | undefined> {
  const rows = await tx
    .select({ deployment: deployments, service: services })
    .from(deployments)
    .innerJoin(services, eq(services.uid, deployments.serviceUid))
    .where(and(eq(deployments.projectUid, projectUid), eq(deployments.id, id)))
    .for('update', { of: deployments })
  return rows[0]
}

/** The row with the wish written down. */
export async function writeWish(tx: Transaction, id: string, wish: DeploymentWish): Promise<DeploymentRow> {
  return rowOf(await tx.update(deployments).set(wish).where(eq(deployments.id, id)).returning())
}
