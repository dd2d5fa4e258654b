import { and, asc, eq, gt, inArray } from 'drizzle-orm'
import type { Executor } from '../connection.ts'
import { nodes, replicaContainers, replicas, revisions } from '../schema.ts'
import type { Page } from './page.ts'

export type ReplicaPicture = {
  replica: typeof replicas.$inferSelect
  revisionName: string
  nodeName: string
  containers: { name: string; id: string }[]
}

/** Replicas of a service by id, those that failed included until they are collected. */
export async function listServiceReplicas(
  db: Executor,
  serviceUid: string,
  page: Page,
): Promise<ReplicaPicture[]> {
  const rows = await db
    .select({ replica: replicas, revisionName: revisions.name, nodeName: nodes.name })
    .from(replicas)
    .leftJoin(revisions, eq(revisions.uid, replicas.revisionUid))
    .leftJoin(nodes, eq(nodes.uid, replicas.nodeUid))
    .where(
      and(
        eq(replicas.serviceUid, serviceUid),
        page.after === undefined ? undefined : gt(replicas.id, page.after),
      ),
    )
    .orderBy(asc(replicas.id))
    .limit(page.limit)
  if (rows.length === 0) return []
  const ids = rows.map(({ replica }) => replica.id)
  const containers = await db
    .select()
    .from(replicaContainers)
    .where(inArray(replicaContainers.replicaId, ids))
    .orderBy(asc(replicaContainers.name))
  const byReplica = Map.groupBy(containers, ({ replicaId }) => replicaId)
  return rows.map(({ replica, revisionName, nodeName }) => ({
    replica,
    revisionName: revisionName ?? '',
    nodeName: nodeName ?? '',
    containers: (byReplica.get(replica.id) ?? []).map(({ name, containerId }) => ({ name, id: containerId })),
  }))
}
