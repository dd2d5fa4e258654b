import type { RevisionTemplate } from '@berth/contracts'
import { and, asc, eq, inArray, isNull, sql } from 'drizzle-orm'
import { alias } from 'drizzle-orm/pg-core'
import type { Executor } from '../connection.ts'
import { deployments, nodes, replicas, revisions, services } from '../schema.ts'

/** A replica on a node that is or shall be drained, with what its move depends on. */
export type LeavingReplica = {
  id: string
  nodeUid: string
  state: (typeof replicas.$inferSelect)['state']
  rung: (typeof replicas.$inferSelect)['rung']
  service: string
  revisionUid: string
  revision: string
  template: RevisionTemplate
  /** How long starts of its revision took from cold, as far as any was measured. */
  coldStartMs: number | undefined
  maxScale: number
  /** Replicas of its service that count against `maxScale`, everywhere. */
  standing: number
  /** What its image was built for; empty when the registry did not say. */
  architectures: string[]
  /** A deployment of its service is under way. */
  deploying: boolean
  /** Where another one starts, or has just started, in its place; null while none does. */
  replacementOn: string | null
}

/** What stands on the nodes and has not failed, by age. */
export async function readLeavingReplicas(
  db: Executor,
  nodeUids: readonly string[],
): Promise<LeavingReplica[]> {
  if (nodeUids.length === 0) return []
  const replacement = alias(replicas, 'replacement')
  const elsewhere = alias(nodes, 'elsewhere')
  // Spelt out: what drizzle counts has no alias.
  const standing = sql<number>`(select count(*) from replicas counted
    where counted.service_uid = ${services.uid} and counted.state in ('starting', 'ready')
      and counted.rung <> 'parked')`
  const open = db.$count(
    deployments,
    and(eq(deployments.serviceUid, services.uid), isNull(deployments.finishedAt)),
  )
  const rows = await db
    .selectDistinctOn([replicas.createdAt, replicas.id], {
      id: replicas.id,
      nodeUid: replicas.nodeUid,
      state: replicas.state,
      rung: replicas.rung,
      service: services.name,
      revisionUid: revisions.uid,
      revision: revisions.name,
      template: revisions.template,
      startMs: revisions.startMs,
      maxScale: services.maxScale,
      standing: standing.mapWith(Number),
      architectures: revisions.architectures,
      deploying: sql<boolean>`${open} > 0`,
      replacementOn: elsewhere.name,
    })
    .from(replicas)
    .innerJoin(services, eq(services.uid, replicas.serviceUid))
    .innerJoin(revisions, eq(revisions.uid, replicas.revisionUid))
    .leftJoin(
      replacement,
      and(eq(replacement.replaces, replicas.id), inArray(replacement.state, ['starting', 'ready'])),
    )
    .leftJoin(elsewhere, eq(elsewhere.uid, replacement.nodeUid))
    .where(
      and(
        inArray(replicas.nodeUid, [...nodeUids]),
        inArray(replicas.state, ['starting', 'ready', 'draining']),
      ),
    )
    .orderBy(asc(replicas.createdAt), asc(replicas.id))
  return rows.map(({ startMs, ...row }) => ({ ...row, coldStartMs: startMs.cold }))
}
