import type {
  DeploymentId,
  ReplicaId,
  RevisionUid,
  RolloutProgress,
  ServiceUid,
  TrafficTarget,
} from '@berth/contracts'
import { and, eq, inArray, isNotNull, isNull, ne, sql } from 'drizzle-orm'
import { withTransaction, type Executor, type Transaction } from '../connection.ts'
import { requireLease, sameLease, type LeaseRef } from '../leases.ts'
import { notifyServiceChanged } from '../notify.ts'
import {
  deploymentEvents,
  deployments,
  leases,
  nodes,
  replicas,
  revisions,
  services,
  serviceStatus,
  type Condition,
  type RolloutTrouble,
} from '../schema.ts'
import { endDeployment, justSucceeded, stepDeployment, type DeploymentEnd } from './deployments.ts'
import { releaseSandboxOf } from './replicas.ts'
import { lockReplicasOf } from './reservation.ts'

/** What the service shows of itself. Nobody waits for it, so nobody is notified. Throws `LeaseLostError`. */
export async function writeReadyCondition(
  db: Executor,
  lease: LeaseRef,
  serviceUid: ServiceUid,
  status: { observedGeneration: number; ready: Condition },
): Promise<void> {
  const columns = {
    observedGeneration: status.observedGeneration,
    conditions: [status.ready],
    epoch: lease.epoch,
    updatedAt: sql`now()`,
  }
  await withTransaction(db, async (tx) => {
    await requireLease(tx, lease)
    await tx
      .insert(serviceStatus)
      .values({ serviceUid, ...columns })
      .onConflictDoUpdate({ target: serviceStatus.serviceUid, set: columns })
  })
}

/** The shift: what the leader is to route from now on, and with it what the deployment has achieved. */
export type TrafficShift = {
  traffic: TrafficTarget[]
  deployment?: { id: DeploymentId; message: string; rollout: RolloutProgress }
  /** The revision that has shown that it starts, and whether `latest` means it from now on. */
  ready?: { uid: RevisionUid; name: string; latest: boolean }
}

/** All of it or nothing; false when the deployment has ended meanwhile. Throws `LeaseLostError`. */
export async function shiftTraffic(
  db: Executor,
  lease: LeaseRef,
  serviceUid: ServiceUid,
  shift: TrafficShift,
): Promise<boolean> {
  return withTransaction(db, async (tx) => {
    await requireLease(tx, lease)
    const { deployment, ready, traffic } = shift
    if (deployment) {
      const step = { phase: 'shifting' as const, message: deployment.message }
      const { message, rollout } = deployment
      const change = { reason: null, message: rollout.percent < 100 ? message : null, rollout }
      if (!(await stepDeployment(tx, lease, deployment.id, step, change))) return false
    }
    if (ready)
      await tx
        .update(revisions)
        .set({ readyAt: sql`coalesce(${revisions.readyAt}, now())`, failure: null })
        .where(eq(revisions.uid, ready.uid))
    const columns = {
      traffic,
      ...(ready?.latest ? { latestReadyRevision: ready.name } : {}),
      epoch: lease.epoch,
      updatedAt: sql`now()`,
    }
    await tx
      .insert(serviceStatus)
      .values({ serviceUid, ...columns })
      .onConflictDoUpdate({ target: serviceStatus.serviceUid, set: columns })
    await notifyServiceChanged(tx, serviceUid)
    return true
  })
}

/**
 * Ends a deployment on its way and lets the leader route what was served before. False when the deployment is over
 * already: then nothing is written. Throws `LeaseLostError`.
 */
export async function takeTrafficBack(
  db: Executor,
  lease: LeaseRef,
  serviceUid: ServiceUid,
  { deployment, back, end }: { deployment: DeploymentId; back: TrafficBefore; end: DeploymentEnd },
): Promise<boolean> {
  return withTransaction(db, async (tx) => {
    await requireLease(tx, lease)
    if (!(await endDeployment(tx, lease, deployment, end))) return false
    await restoreTraffic(tx, lease, serviceUid, back)
    return true
  })
}

/** What is routed again, and what `latest` means with it. */
export type TrafficBefore = { traffic: TrafficTarget[]; latest: string | null }

/**
 * The same after a deployment has succeeded: it stays so, and says why its traffic went back. False when it has done
 * so already. Throws `LeaseLostError`.
 */
export async function rollBackTraffic(
  db: Executor,
  lease: LeaseRef,
  serviceUid: ServiceUid,
  { deployment, back, why }: { deployment: DeploymentId; back: TrafficBefore; why: RollbackCause },
): Promise<boolean> {
  return withTransaction(db, async (tx) => {
    await requireLease(tx, lease)
    const { reason, message, node = null } = why
    const rolledBack = sql`${JSON.stringify({ reason, message })}::jsonb
      || jsonb_build_object('at', to_char(clock_timestamp() at time zone 'utc', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"'))`
    const rows = await tx
      .update(deployments)
      .set({ rolledBack, epoch: lease.epoch })
      .where(and(eq(deployments.id, deployment), isNull(deployments.rolledBack)))
      .returning({ phase: deployments.phase })
    const [row] = rows
    if (row === undefined) return false
    const event = { deploymentId: deployment, phase: row.phase, node, message: `${reason}: ${message}` }
    await tx.insert(deploymentEvents).values(event)
    await restoreTraffic(tx, lease, serviceUid, back)
    await notifyServiceChanged(tx, serviceUid)
    return true
  })
}

export type RollbackCause = RolloutTrouble & { node?: string }

async function restoreTraffic(
  tx: Transaction,
  lease: LeaseRef,
  serviceUid: ServiceUid,
  { traffic, latest }: TrafficBefore,
): Promise<void> {
  await tx
    .update(serviceStatus)
    .set({ traffic, latestReadyRevision: latest, epoch: lease.epoch, updatedAt: sql`now()` })
    .where(eq(serviceStatus.serviceUid, serviceUid))
}

/** Marks replicas `draining`; the leader withdraws and stops them. Throws `LeaseLostError`. */
export async function drainReplicas(
  db: Executor,
  lease: LeaseRef,
  serviceUid: ServiceUid,
  ids: readonly ReplicaId[],
): Promise<void> {
  await withTransaction(db, async (tx) => {
    await requireLease(tx, lease)
    await tx
      .update(replicas)
      .set({ state: 'draining', drainingAt: sql`now()`, epoch: lease.epoch })
      .where(
        and(
          eq(replicas.serviceUid, serviceUid),
          inArray(replicas.id, [...ids]),
          inArray(replicas.state, ['starting', 'ready']),
        ),
      )
    await notifyServiceChanged(tx, serviceUid)
  })
}

/**
 * The last step of a deletion: the service and all that hangs on it. False while a replica is left that has not
 * failed, or when nobody wants the deletion. Throws `LeaseLostError`.
 */
export async function deleteServiceRows(
  db: Executor,
  lease: LeaseRef,
  serviceUid: ServiceUid,
): Promise<boolean> {
  return withTransaction(db, async (tx) => {
    await requireLease(tx, lease)
    await lockReplicasOf(tx, serviceUid)
    const [service] = await tx
      .select({ uid: services.uid })
      .from(services)
      .where(and(eq(services.uid, serviceUid), isNotNull(services.deletedAt)))
      .for('update')
    if (!service) return false
    const left = await tx
      .select({ id: replicas.id })
      .from(replicas)
      .where(and(eq(replicas.serviceUid, serviceUid), ne(replicas.state, 'failed')))
      .limit(1)
    if (left.length > 0) return false
    const gone = await tx
      .delete(replicas)
      .where(eq(replicas.serviceUid, serviceUid))
      .returning({ id: replicas.id })
    for (const { id } of gone) await releaseSandboxOf(tx, id)
    await tx.delete(services).where(eq(services.uid, serviceUid))
    await tx.delete(leases).where(sameLease(lease))
    await notifyServiceChanged(tx, serviceUid)
    return true
  })
}

/** The lease of a service that is gone would stay behind for good. */
export async function forgetServiceLease(db: Executor, lease: LeaseRef): Promise<void> {
  await db.delete(leases).where(sameLease(lease))
}

/**
 * Services for which something is still to be done: behind their generation, with an open deployment, being
 * deleted, just deployed and so observed, or with replicas of a revision that has no traffic any more or on a node that
 * is drained.
 */
export async function listServicesBehind(db: Executor): Promise<ServiceUid[]> {
  const rows = await db
    .select({ uid: services.uid })
    .from(services)
    .leftJoin(serviceStatus, eq(serviceStatus.serviceUid, services.uid))
    .where(
      sql`${services.deletedAt} is not null
        or coalesce(${serviceStatus.observedGeneration}, 0) < ${services.generation}
        or exists (select 1 from ${deployments}
          where ${and(eq(deployments.serviceUid, services.uid), isNull(deployments.finishedAt))})
        or exists (select 1 from ${deployments} where ${justSucceeded(services.uid)})
        or exists (select 1 from ${replicas} join ${revisions} on ${eq(revisions.uid, replicas.revisionUid)}
          where ${and(eq(replicas.serviceUid, services.uid), inArray(replicas.state, ['starting', 'ready']))}
            and not ${serviceStatus.traffic} @> jsonb_build_array(jsonb_build_object('revision', ${revisions.name})))
        or exists (select 1 from ${replicas} join ${nodes} on ${eq(nodes.uid, replicas.nodeUid)}
          where ${and(eq(replicas.serviceUid, services.uid), inArray(replicas.state, ['starting', 'ready']), eq(nodes.scheduling, 'draining'))})`,
    )
  return rows.map(({ uid }) => uid as ServiceUid)
}
