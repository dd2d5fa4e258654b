import { z } from 'zod'
import { conditionStatuses } from '../states.ts'

export const findingSubjects = [
  'service',
  'revision',
  'placement',
  'deployment',
  'replica',
  'node',
  'logs',
] as const
export const findingSeverities = ['error', 'warning', 'info'] as const

/** One thing that is so, in a sentence. */
export const explanationFinding = z
  .object({
    about: z.enum(findingSubjects),
    severity: z.enum(findingSeverities),
    message: z.string(),
    node: z.string().optional(),
    revision: z.string().optional(),
    replica: z.string().optional(),
    at: z.iso.datetime().optional(),
  })
  .meta({ id: 'ExplanationFinding' })
export type ExplanationFinding = z.infer<typeof explanationFinding>

/** Why a service is as it is. */
export const explanationView = z
  .object({
    service: z.string(),
    /** All of it in a sentence or two. */
    summary: z.string(),
    /** The status of the condition `Ready`. */
    ready: z.enum(conditionStatuses),
    findings: z.array(explanationFinding),
    /** Whose lines `lastLines` are: a replica that failed or does not get ready; null when there is none. */
    lastLinesOf: z.string().nullable(),
    /** Up to 20, with the values of the revision's `env` replaced. */
    lastLines: z.array(z.string()),
    /** What to try, the best first; `$token` stands for a token of the caller. */
    next: z.array(z.object({ why: z.string(), command: z.string() })),
  })
  .meta({ id: 'Explanation' })
export type ExplanationView = z.infer<typeof explanationView>
