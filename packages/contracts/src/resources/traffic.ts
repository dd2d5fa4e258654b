import { z } from 'zod'
import { tagLength } from '../names.ts'
import { nameField } from './name-field.ts'

const maxTargets = 100

/** Who gets which share: a revision's name is a pin, `latest` follows. A tag gives the target a URL of its own. */
export const trafficSpec = z
  .array(
    z.strictObject({
      revision: z.string().min(1).max(64),
      percent: z.int().min(0).max(100).default(0),
      tag: nameField(tagLength).nullable().default(null),
    }),
  )
  .min(1)
  .max(maxTargets)
  .superRefine((targets, context) => {
    const sum = targets.reduce((total, { percent }) => total + percent, 0)
    if (sum !== 100)
      context.addIssue({ code: 'custom', message: `the percentages must sum to 100, they sum to ${sum}` })
    const seen = new Set<string>()
    for (const [index, { tag }] of targets.entries()) {
      if (tag === null) continue
      if (seen.has(tag))
        context.addIssue({ code: 'custom', path: [index, 'tag'], message: `the tag "${tag}" is used twice` })
      seen.add(tag)
    }
  })
export type TrafficSpec = z.infer<typeof trafficSpec>
