import { z } from 'zod'
import { replicaStates, rungs } from '../states.ts'

export const replicaView = z
  .object({
    id: z.string(),
    service: z.string(),
    revision: z.string(),
    node: z.string(),
    state: z.enum(replicaStates),
    rung: z.enum(rungs),
    address: z.string(),
    port: z.int(),
    containers: z.array(z.object({ name: z.string(), id: z.string() })),
    startedAt: z.iso.datetime().nullable(),
    restarts: z.int(),
    reason: z.string().nullable(),
    message: z.string().nullable(),
  })
  .meta({ id: 'Replica' })
export type ReplicaView = z.infer<typeof replicaView>
