import { z } from 'zod'

const flag = z.enum(['true', 'false', '1', '0', '']).transform((text) => text !== 'false' && text !== '0')

export const logQuery = z.strictObject({
  follow: flag
    .optional()
    .describe('keep the answer open and send lines as they come, of replicas that start later too'),
  since: z.string().max(64).optional().describe('an RFC 3339 time, or how long ago: 30s, 15m, 2h, 1d'),
  tail: z
    .string()
    .regex(/^[0-9]{1,5}$/, 'must be 0 to 10000')
    .transform(Number)
    .pipe(z.int().max(10_000))
    .optional()
    .describe('at most so many of the newest lines'),
  replica: z.string().min(1).max(64).optional().describe('one replica only'),
  previous: flag
    .optional()
    .describe('what was printed before the last start of each replica; does not follow'),
})
export type LogQuery = z.infer<typeof logQuery>

/** One line of a replica's output. */
export const logLine = z
  .object({
    at: z.string(),
    replica: z.string(),
    stream: z.enum(['stdout', 'stderr']),
    line: z.string(),
  })
  .meta({ id: 'LogLine' })
export type LogLine = z.infer<typeof logLine>
