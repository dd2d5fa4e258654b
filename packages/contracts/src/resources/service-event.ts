import { z } from 'zod'
import { serviceEventKinds } from '../states.ts'

/** The same thing again on the same node within ten minutes of the last time is one event that counts. */
export const serviceEventView = z
  .object({
    /** The last time. */
    at: z.iso.datetime(),
    firstAt: z.iso.datetime(),
    count: z.int(),
    kind: z.enum(serviceEventKinds),
    revision: z.string(),
    /** Null when the node is gone. */
    node: z.string().nullable(),
    /** The one of the last time. */
    replica: z.string(),
    reason: z.string(),
    message: z.string(),
  })
  .meta({ id: 'ServiceEvent' })
export type ServiceEventView = z.infer<typeof serviceEventView>
