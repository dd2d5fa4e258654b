import type { ServiceUid } from '@berth/contracts'
import { sql } from 'drizzle-orm'
import { withTransaction, type Executor } from '../connection.ts'
import { requireLease, type LeaseRef } from '../leases.ts'
import { notifyServiceChanged } from '../notify.ts'
import { serviceRoutes, services } from '../schema.ts'

/**
 * Notes that every router serves these targets for the service's own host, and tells whoever waits for it.
 * Nothing is written for a service that is gone. Throws `LeaseLostError`.
 */
export async function writeServiceRoutes(
  db: Executor,
  lease: LeaseRef,
  service: ServiceUid,
  targets: { revision: string; percent: number }[],
): Promise<void> {
  await withTransaction(db, async (tx) => {
    await requireLease(tx, lease)
    await tx.execute(sql`
      insert into ${serviceRoutes} (service_uid, targets, epoch, acknowledged_at)
      select ${services.uid}, ${JSON.stringify(targets)}::jsonb, ${lease.epoch}, clock_timestamp()
      from ${services} where ${services.uid} = ${service}
      on conflict (service_uid) do update
      set targets = excluded.targets, epoch = excluded.epoch, acknowledged_at = excluded.acknowledged_at
    `)
    await notifyServiceChanged(tx, service)
  })
}
