import type { NodeUid } from '@berth/contracts'
import { and, eq, inArray, sql } from 'drizzle-orm'
import { withTransaction, type Executor } from '../connection.ts'
import { leaseHeld, requireLease, type LeaseRef } from '../leases.ts'
import { nodeImages } from '../schema.ts'

/*
 * Images that were brought to nodes, by digest. `observedAt` is when one was last brought or found there for a start.
 */

/** Notes that a node holds an image, and uses it now. Throws `LeaseLostError`. */
export async function recordNodeImage(
  db: Executor,
  lease: LeaseRef,
  nodeUid: NodeUid,
  digest: string,
): Promise<void> {
  await withTransaction(db, async (tx) => {
    await requireLease(tx, lease)
    await tx
      .insert(nodeImages)
      .values({ nodeUid, digest })
      .onConflictDoUpdate({
        target: [nodeImages.nodeUid, nodeImages.digest],
        set: { observedAt: sql`clock_timestamp()` },
      })
  })
}

/** Which nodes hold an image, by its digest. */
export async function readNodeImages(db: Executor): Promise<{ nodeUid: NodeUid; digest: string }[]> {
  const rows = await db.select({ nodeUid: nodeImages.nodeUid, digest: nodeImages.digest }).from(nodeImages)
  return rows.map((row) => ({ ...row, nodeUid: row.nodeUid as NodeUid }))
}

/** No effect when the lease is lost. */
export async function forgetNodeImages(
  db: Executor,
  lease: LeaseRef,
  nodeUid: NodeUid,
  digests: readonly string[],
): Promise<void> {
  await db
    .delete(nodeImages)
    .where(and(eq(nodeImages.nodeUid, nodeUid), inArray(nodeImages.digest, [...digests]), leaseHeld(lease)))
}

export type NodeImageUse = {
  digest: string
  /** How long ago it was last brought or found for a start, by the database's clock. */
  unusedMs: number
  /** A revision names it. */
  retained: boolean
  /** That revision has replicas, traffic or an open deployment, or is the newest ready one of its service. */
  inUse: boolean
}

/** What of the node's images is needed, at this moment. */
export async function readNodeImageUse(db: Executor, nodeUid: NodeUid): Promise<NodeImageUse[]> {
  const { rows } = await db.execute<NodeImageUse & { unusedMs: string }>(sql`
    select i.digest,
      extract(epoch from clock_timestamp() - i.observed_at) * 1000 as "unusedMs",
      exists (select 1 from revisions r where r.image_digest = i.digest) as retained,
      exists (
        select 1 from revisions r
          join services s on s.uid = r.service_uid
          left join service_status t on t.service_uid = s.uid
        where r.image_digest = i.digest and (
          r.name in (s.pinned_revision, t.latest_ready_revision)
          or s.traffic @> jsonb_build_array(jsonb_build_object('revision', r.name))
          or t.traffic @> jsonb_build_array(jsonb_build_object('revision', r.name))
          or exists (select 1 from replicas p where p.revision_uid = r.uid and p.state <> 'failed')
          or exists (select 1 from deployments d where d.revision_uid = r.uid and d.finished_at is null)
        )
      ) as "inUse"
    from ${nodeImages} i where i.node_uid = ${nodeUid}`)
  return rows.map((row) => ({ ...row, unusedMs: Number(row.unusedMs) }))
}
