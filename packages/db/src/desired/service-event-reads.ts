import { and, desc, eq, lt } from 'drizzle-orm'
import type { Executor } from '../connection.ts'
import { serviceEvents } from '../schema.ts'

export type ServiceEventRow = typeof serviceEvents.$inferSelect

/** What befell replicas of the service, newest first; `before` is the id of the last one on the page before. */
export async function listServiceEvents(
  db: Executor,
  serviceUid: string,
  page: { limit: number; before?: number },
): Promise<ServiceEventRow[]> {
  return await db
    .select()
    .from(serviceEvents)
    .where(
      and(
        eq(serviceEvents.serviceUid, serviceUid),
        page.before === undefined ? undefined : lt(serviceEvents.id, page.before),
      ),
    )
    .orderBy(desc(serviceEvents.id))
    .limit(page.limit)
}
