import {
  mayMoveDeployment,
  type DeploymentId,
  type DeploymentPhase,
  type FinalDeploymentPhase,
  type Reason,
  type RevisionUid,
  type RolloutProgress,
  type RolloutSettings,
} from '@berth/contracts'
import { and, eq, isNull, sql, type SQL } from 'drizzle-orm'
import type { AnyPgColumn } from 'drizzle-orm/pg-core'
import { withTransaction, type Executor, type Transaction } from '../connection.ts'
import { leaseHeld, requireLease, type LeaseRef } from '../leases.ts'
import { notifyServiceChanged } from '../notify.ts'
import { deploymentEvents, deployments, revisions, services, type RolloutTrouble } from '../schema.ts'

/** One step that people may read about. Without `phase` the deployment stays in the phase it is in. */
export type DeploymentStep = { phase?: DeploymentPhase; node?: string; message: string }

/**
 * Writes an event and moves the phase, forward only. False when the deployment is over or gone: then nothing is
 * written. Throws `LeaseLostError`.
 */
export async function advanceDeployment(
  db: Executor,
  lease: LeaseRef,
  id: DeploymentId,
  step: DeploymentStep,
): Promise<boolean> {
  return withTransaction(db, async (tx) => {
    await requireLease(tx, lease)
    return stepDeployment(tx, lease, id, step)
  })
}

type DeploymentChange = {
  revisionUid?: RevisionUid
  revisionName?: string
  rollout?: RolloutProgress
  reason?: Reason | null
  message?: string | null
}

/** The same within a transaction that has checked the lease; `change` is written along with the phase. */
export async function stepDeployment(
  tx: Transaction,
  lease: LeaseRef,
  id: DeploymentId,
  step: DeploymentStep,
  change: DeploymentChange = {},
): Promise<boolean> {
  const row = await lockOpen(tx, id)
  if (!row) return false
  const phase = step.phase && mayMoveDeployment(row.phase, step.phase) ? step.phase : row.phase
  await tx
    .update(deployments)
    .set({ ...change, phase, epoch: lease.epoch })
    .where(eq(deployments.id, id))
  await tx
    .insert(deploymentEvents)
    .values({ deploymentId: id, phase, node: step.node ?? null, message: step.message })
  return true
}

/** Keeps why the deployment does not get on, with an event whenever that changes. It stays open. */
export async function reportTrouble(
  db: Executor,
  lease: LeaseRef,
  id: DeploymentId,
  trouble: { reason: Reason; message: string },
): Promise<void> {
  await withTransaction(db, async (tx) => {
    await requireLease(tx, lease)
    const row = await lockOpen(tx, id)
    if (!row || (row.reason === trouble.reason && row.message === trouble.message)) return
    await stepDeployment(tx, lease, id, { message: `${trouble.reason}: ${trouble.message}` }, trouble)
  })
}

/** Notes how far the traffic has got, with an event. Nothing when the deployment is over. Throws `LeaseLostError`. */
export async function noteRollout(
  db: Executor,
  lease: LeaseRef,
  id: DeploymentId,
  note: { rollout: RolloutProgress; message: string },
): Promise<void> {
  await withTransaction(db, async (tx) => {
    await requireLease(tx, lease)
    await stepDeployment(tx, lease, id, { message: note.message }, { rollout: note.rollout })
  })
}

export type DeploymentEnd = {
  phase: FinalDeploymentPhase
  reason: Reason | null
  message: string
  /** The node that it is about. */
  node?: string
}

/** Ends an open deployment; one that is over stays as it is. Throws `LeaseLostError`. */
export async function finishDeployment(
  db: Executor,
  lease: LeaseRef,
  id: DeploymentId,
  end: DeploymentEnd,
): Promise<void> {
  await withTransaction(db, async (tx) => {
    await requireLease(tx, lease)
    await endDeployment(tx, lease, id, end)
  })
}

/** The same within a transaction that has checked the lease; false when the deployment is over or gone. */
export async function endDeployment(
  tx: Transaction,
  lease: LeaseRef,
  id: DeploymentId,
  end: DeploymentEnd,
): Promise<boolean> {
  const row = await lockOpen(tx, id)
  if (!row) return false
  await stepDeployment(tx, lease, id, end, { reason: end.reason, message: end.message })
  await tx
    .update(deployments)
    .set({ finishedAt: sql`clock_timestamp()` })
    .where(eq(deployments.id, id))
  await notifyServiceChanged(tx, row.serviceUid)
  return true
}

async function lockOpen(tx: Transaction, id: DeploymentId) {
  const [row] = await tx.select().from(deployments).where(eq(deployments.id, id)).for('update')
  return row && row.finishedAt === null ? row : null
}

/** For so long after its end a deployment is observed: its traffic may go back by itself. */
export const observationMs = 30_000

/** For a query over `deployments`: those of a service that are observed after their end. */
export function justSucceeded(serviceUid: AnyPgColumn): SQL {
  return sql`${eq(deployments.serviceUid, serviceUid)} and ${deployments.phase} = 'succeeded'
    and ${deployments.rolledBack} is null and ${deployments.rollout} ->> 'previous' is not null
    and ${deployments.finishedAt} > clock_timestamp() - ${observationMs} * interval '1 millisecond'`
}

/** By the leader: why the traffic of a deployment should go back; the first word counts. Throws `LeaseLostError`. */
export async function writeRolloutTrouble(
  db: Executor,
  lease: LeaseRef,
  id: DeploymentId,
  trouble: RolloutTrouble,
): Promise<void> {
  await withTransaction(db, async (tx) => {
    await requireLease(tx, lease)
    const [row] = await tx
      .update(deployments)
      .set({ trouble })
      .where(and(eq(deployments.id, id), isNull(deployments.trouble)))
      .returning({ serviceUid: deployments.serviceUid })
    if (row) await notifyServiceChanged(tx, row.serviceUid)
  })
}

/** What the revision before answered in the minute before the traffic moved; the first word counts. */
export async function writeAnswersBefore(
  db: Executor,
  lease: LeaseRef,
  id: DeploymentId,
  answersBefore: AnswersBefore,
): Promise<void> {
  await db
    .update(deployments)
    .set({ answersBefore })
    .where(and(eq(deployments.id, id), isNull(deployments.answersBefore), leaseHeld(lease)))
}

export type AnswersBefore = { requests: number; failed: number }

/** A deployment whose revision has traffic that may still go back to the one before. */
export type ObservedRollout = {
  deployment: DeploymentId
  name: string
  revision: RevisionUid
  previous: RevisionUid
  /** Of the revision before, as an earlier look has kept it; null when it told nothing. */
  answersBefore: AnswersBefore | null
  rollout: RolloutSettings
}

/** Those that are under way or observed after their end, as long as no trouble is written down. */
export async function readObservedRollouts(db: Executor): Promise<ObservedRollout[]> {
  const previous = and(
    eq(revisions.serviceUid, deployments.serviceUid),
    sql`${revisions.name} = ${deployments.rollout} ->> 'previous'`,
  )
  const rows = await db
    .select({
      deployment: deployments.id,
      name: deployments.revisionName,
      revision: deployments.revisionUid,
      previous: revisions.uid,
      answersBefore: deployments.answersBefore,
      rollout: services.rollout,
    })
    .from(deployments)
    .innerJoin(services, eq(services.uid, deployments.serviceUid))
    .innerJoin(revisions, previous)
    .where(
      sql`${deployments.trouble} is null and ${deployments.revisionUid} <> ${revisions.uid}
        and (${deployments.rollout} ->> 'percent')::int > 0
        and (${deployments.finishedAt} is null or (${justSucceeded(services.uid)}))`,
    )
  return rows as ObservedRollout[]
}
