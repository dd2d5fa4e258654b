import type { Reason, ServiceEventKind } from '@berth/contracts'
import { and, desc, eq, gt, lt, sql } from 'drizzle-orm'
import type { Transaction } from '../connection.ts'
import { nodes, revisions, serviceEvents } from '../schema.ts'

/** An app that crashes again and again is one event per reason and node, as long as it goes on. */
const sameWithinMinutes = 10
const keptPerService = 100

export type ReplicaEvent = { kind: ServiceEventKind; reason: Reason; message: string }

/** Within a transaction that has checked the lease. The oldest events of the service make room. */
export async function noteReplicaEvent(
  tx: Transaction,
  replica: { id: string; serviceUid: string; revisionUid: string; nodeUid: string },
  { kind, reason, message }: ReplicaEvent,
): Promise<void> {
  const { serviceUid } = replica
  const [about] = await tx
    .select({ revision: revisions.name, node: nodes.name })
    .from(revisions)
    .leftJoin(nodes, eq(nodes.uid, replica.nodeUid))
    .where(eq(revisions.uid, replica.revisionUid))
  if (about === undefined) return
  const { revision, node } = about
  const [same] = await tx
    .select({ id: serviceEvents.id })
    .from(serviceEvents)
    .where(
      and(
        eq(serviceEvents.serviceUid, serviceUid),
        eq(serviceEvents.kind, kind),
        eq(serviceEvents.reason, reason),
        eq(serviceEvents.revision, revision),
        sql`${serviceEvents.node} is not distinct from ${node}`,
        gt(serviceEvents.at, sql`clock_timestamp() - make_interval(mins => ${sameWithinMinutes})`),
      ),
    )
    .orderBy(desc(serviceEvents.id))
    .limit(1)
  const last = { at: sql`clock_timestamp()`, replicaId: replica.id, message }
  if (same === undefined) {
    const firstAt = sql`clock_timestamp()`
    await tx.insert(serviceEvents).values({ serviceUid, kind, reason, revision, node, firstAt, ...last })
    return forgetOldest(tx, serviceUid)
  }
  const id = sql`nextval(pg_get_serial_sequence('service_events', 'id'))`
  const count = sql`${serviceEvents.count} + 1`
  await tx
    .update(serviceEvents)
    .set({ ...last, id, count })
    .where(eq(serviceEvents.id, same.id))
}

async function forgetOldest(tx: Transaction, serviceUid: string): Promise<void> {
  const oldestKept = tx
    .select({ id: serviceEvents.id })
    .from(serviceEvents)
    .where(eq(serviceEvents.serviceUid, serviceUid))
    .orderBy(desc(serviceEvents.id))
    .offset(keptPerService - 1)
    .limit(1)
  await tx
    .delete(serviceEvents)
    .where(and(eq(serviceEvents.serviceUid, serviceUid), lt(serviceEvents.id, sql`(${oldestKept})`)))
}
