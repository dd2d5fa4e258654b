import {
  revisionName,
  type DeploymentId,
  type RevisionTemplate,
  type RevisionUid,
  type ServiceUid,
} from '@berth/contracts'
import { and, eq, sql } from 'drizzle-orm'
import { withTransaction, type Executor } from '../connection.ts'
import { requireLease, type LeaseRef } from '../leases.ts'
import { revisions, services, serviceStatus } from '../schema.ts'
import { stepDeployment } from './deployments.ts'

/** What a revision is made from, as it is now; `env` is sealed for `service:<uid>:env`. */
export type DesiredTemplate = { generation: number; template: RevisionTemplate; env: Buffer }

/** Null when the service is gone or being deleted. */
export async function readDesiredTemplate(
  db: Executor,
  serviceUid: ServiceUid,
): Promise<DesiredTemplate | null> {
  const [row] = await db
    .select({
      generation: services.generation,
      template: services.template,
      env: services.env,
      deletedAt: services.deletedAt,
    })
    .from(services)
    .where(eq(services.uid, serviceUid))
  return row && row.deletedAt === null ? row : null
}

export type NewRevision = {
  uid: RevisionUid
  serviceUid: ServiceUid
  /** The service's generation that `template` and `env` were read at. */
  generation: number
  template: RevisionTemplate
  /** Sealed for `revision:<uid>:env`. */
  env: Buffer
  contentHash: string
  imageRepository: string
  imageDigest: string
  architectures: string[]
  /** Names it; null: its number does. */
  suffix: string | null
}

/**
 * Makes the next revision of a service and gives it to the deployment, both or neither. `conflict` when the service
 * has changed since, the deployment has ended or has a revision, or the name is taken: read again. Throws
 * `LeaseLostError`.
 */
export async function makeRevision(
  db: Executor,
  lease: LeaseRef,
  deploymentId: DeploymentId,
  revision: NewRevision,
): Promise<{ name: string } | 'conflict'> {
  const { generation, suffix, ...row } = revision
  return withTransaction(db, async (tx) => {
    await requireLease(tx, lease)
    const [service] = await tx
      .select({ name: services.name })
      .from(services)
      .where(
        and(
          eq(services.uid, revision.serviceUid),
          eq(services.generation, generation),
          sql`${services.deletedAt} is null`,
        ),
      )
      .for('share')
    if (!service) return 'conflict'
    const [newest] = await tx
      .select({ number: sql<number>`coalesce(max(${revisions.number}), 0)::int` })
      .from(revisions)
      .where(eq(revisions.serviceUid, revision.serviceUid))
    const number = (newest?.number ?? 0) + 1
    const name = revisionName(service.name, suffix ?? number)
    const [taken] = await tx
      .select({ uid: revisions.uid })
      .from(revisions)
      .where(and(eq(revisions.serviceUid, revision.serviceUid), eq(revisions.name, name)))
    if (taken) return 'conflict'
    const moved = await stepDeployment(
      tx,
      lease,
      deploymentId,
      { phase: 'placing', message: `revision ${name} made of ${row.imageRepository}@${row.imageDigest}` },
      { revisionUid: revision.uid, revisionName: name },
    )
    if (!moved) return 'conflict'
    await tx.insert(revisions).values({ ...row, number, name })
    await tx
      .insert(serviceStatus)
      .values({ serviceUid: revision.serviceUid, latestCreatedRevision: name, epoch: lease.epoch })
      .onConflictDoUpdate({
        target: serviceStatus.serviceUid,
        set: { latestCreatedRevision: name, epoch: lease.epoch, updatedAt: sql`now()` },
      })
    return { name }
  })
}

/** Gives a revision that is there to the deployment. Throws `LeaseLostError`. */
export async function adoptRevision(
  db: Executor,
  lease: LeaseRef,
  deploymentId: DeploymentId,
  revision: { uid: RevisionUid; name: string; message: string },
): Promise<void> {
  await withTransaction(db, async (tx) => {
    await requireLease(tx, lease)
    await stepDeployment(
      tx,
      lease,
      deploymentId,
      { phase: 'placing', message: revision.message },
      { revisionUid: revision.uid, revisionName: revision.name },
    )
  })
}
