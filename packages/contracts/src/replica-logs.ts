import { z } from 'zod'

/** One line of a replica's output, as the worker hands it to the API. `at` is an instant in ISO 8601. */
export const replicaLogLine = z.object({
  at: z.iso.datetime(),
  stream: z.enum(['stdout', 'stderr']),
  line: z.string(),
})
export type ReplicaLogLine = z.infer<typeof replicaLogLine>
