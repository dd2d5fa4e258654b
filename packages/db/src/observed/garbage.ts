import type { NodeUid } from '@berth/contracts'
import { and, eq, inArray, isNull, lt, ne, sql } from 'drizzle-orm'
import type { Executor } from '../connection.ts'
import { leaseHeld, type LeaseRef } from '../leases.ts'
import {
  deployments,
  hostPorts,
  idempotencyKeys,
  leases,
  projectNetworks,
  replicas,
  services,
  spareSandboxes,
} from '../schema.ts'

/** Ids of all replicas and spare sandboxes, and the names of the networks on a node. */
export async function readBelongings(
  db: Executor,
  node: NodeUid,
): Promise<{ owners: ReadonlySet<string>; networks: ReadonlySet<string> }> {
  const owners = await db
    .select({ id: replicas.id })
    .from(replicas)
    .unionAll(db.select({ id: spareSandboxes.id }).from(spareSandboxes))
  const networks = await db
    .select({ name: projectNetworks.name })
    .from(projectNetworks)
    .where(eq(projectNetworks.nodeUid, node))
  return {
    owners: new Set(owners.map((owner) => owner.id)),
    networks: new Set(networks.map((network) => network.name)),
  }
}

/** Ids of replicas and spare sandboxes that are on another node than this one. */
export async function readOwnersElsewhere(db: Executor, node: NodeUid): Promise<ReadonlySet<string>> {
  const owners = await db
    .select({ id: replicas.id })
    .from(replicas)
    .where(ne(replicas.nodeUid, node))
    .unionAll(
      db.select({ id: spareSandboxes.id }).from(spareSandboxes).where(ne(spareSandboxes.nodeUid, node)),
    )
  return new Set(owners.map((owner) => owner.id))
}

const keptDeployments = 50

/**
 * Deletes what is past its time: quarantined ports, idempotency keys after 24 h, leases of services that are gone,
 * and ended deployments beyond the newest 50 of each service, with their events. Replicas of services that are gone
 * retire. No effect when the lease is lost.
 */
export async function collectRows(db: Executor, lease: LeaseRef): Promise<void> {
  await db
    .delete(hostPorts)
    .where(
      and(
        isNull(hostPorts.replicaId),
        isNull(hostPorts.spareId),
        lt(hostPorts.quarantinedUntil, sql`clock_timestamp()`),
        leaseHeld(lease),
      ),
    )
  await db
    .update(replicas)
    .set({ state: 'draining', drainingAt: sql`clock_timestamp()`, epoch: lease.epoch })
    .where(
      and(
        inArray(replicas.state, ['starting', 'ready']),
        sql`not exists (select 1 from ${services} s where s.uid = replicas.service_uid)`,
        leaseHeld(lease),
      ),
    )
  await db
    .delete(idempotencyKeys)
    .where(and(lt(idempotencyKeys.createdAt, sql`clock_timestamp() - interval '24 hours'`), leaseHeld(lease)))
  await db.execute(sql`
    delete from ${leases}
    where name like 'service:%' and expires_at < clock_timestamp() - interval '1 hour'
      and not exists (select 1 from ${services} s where 'service:' || s.uid = name)
  `)
  await db.execute(sql`
    delete from ${deployments} where id in (
      select id from (
        select id, finished_at, row_number() over (partition by service_uid order by started_at desc) as place
        from ${deployments}
      ) ranked where place > ${keptDeployments} and finished_at is not null
    ) and ${leaseHeld(lease)}
  `)
}
