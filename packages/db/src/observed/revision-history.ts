import { and, eq, sql } from 'drizzle-orm'
import { withTransaction, type Executor, type Transaction } from '../connection.ts'
import { requireLease, type LeaseRef } from '../leases.ts'
import { deployments, replicas, revisions, serviceRoutes, services, serviceStatus } from '../schema.ts'

/**
 * Deletes revisions beyond the history of their service, the oldest ones. Kept are those that anything still names:
 * traffic, wanted, routed or acknowledged, with its tags; a pin; the latest created and the latest ready one; a
 * deployment that is open, or whose traffic may still go back to it; and a replica, a failed one too until it is forgotten. Deployments keep their names in
 * text. How many went. Throws `LeaseLostError`.
 */
export async function collectRevisions(db: Executor, lease: LeaseRef): Promise<number> {
  const beyond = await db.select({ uid: services.uid }).from(services)
    .where(sql`${services.revisionHistoryLimit} < (
      select count(*) from ${revisions} where ${eq(revisions.serviceUid, services.uid)})`)
  let gone = 0
  for (const { uid } of beyond)
    gone += await withTransaction(db, async (tx) => {
      await requireLease(tx, lease)
      return await collectOf(tx, uid)
    })
  return gone
}

/**
 * Holds the service, so that nobody names a revision in its traffic or by a rollback meanwhile. One that somebody is
 * changing has to wait for the next round: the leader's lease, which is held as well, must not.
 */
async function collectOf(tx: Transaction, serviceUid: string): Promise<number> {
  const [service] = await tx
    .select({ name: services.name, limit: services.revisionHistoryLimit })
    .from(services)
    .where(eq(services.uid, serviceUid))
    .for('update', { skipLocked: true })
  if (!service) return 0
  const rows = await tx
    .delete(revisions)
    .where(
      and(
        eq(revisions.serviceUid, serviceUid),
        sql`${revisions.number} <= (select number from ${revisions} newer
          where newer.service_uid = ${serviceUid} order by number desc offset ${service.limit} limit 1)`,
        sql`not exists (select 1 from ${services} s where s.uid = ${serviceUid}
          and (s.pinned_revision = revisions.name or ${names('s.traffic', 'name')}))`,
        sql`not exists (select 1 from ${serviceStatus} s where s.service_uid = ${serviceUid}
          and (revisions.name in (s.latest_created_revision, s.latest_ready_revision) or ${names('s.traffic', 'name')}))`,
        sql`not exists (select 1 from ${serviceRoutes} r where r.service_uid = ${serviceUid}
          and ${names('r.targets', 'uid')})`,
        sql`not exists (select 1 from ${deployments} d where d.service_uid = ${serviceUid} and d.finished_at is null
          and (d.revision_uid = revisions.uid or ${service.name} || '-' || d.revision_suffix = revisions.name))`,
        sql`not exists (select 1 from ${deployments} d where d.service_uid = ${serviceUid}
          and d.rollout->>'previous' = revisions.name
          and (d.finished_at is null or d.finished_at > clock_timestamp() - interval '10 minutes'))`,
        sql`not exists (select 1 from ${replicas} r where r.revision_uid = revisions.uid)`,
      ),
    )
    .returning({ uid: revisions.uid })
  return rows.length
}

/** Whether a list of targets names the revision, by its name or its uid. */
function names(targets: 's.traffic' | 'r.targets', by: 'name' | 'uid') {
  return sql`${sql.raw(targets)} @> jsonb_build_array(jsonb_build_object('revision', ${sql.raw(`revisions.${by}`)}))`
}
