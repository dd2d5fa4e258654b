import { z } from 'zod'

const maxEntries = 1000
const maxValueBytes = 32 * 1024
/** Set by Berth itself (Knative's container contract). */
const platformKey = /^(?:PORT|K_.*)$/

/** Later a value may name a secret; the schema says so from the start and it is refused until built. */
const secretReference = z.strictObject({
  secret: z.string(),
  version: z.union([z.string(), z.int()]).optional(),
})

/** Environment variables of the app. */
export const environmentSpec = z
  .record(z.string(), z.union([z.string(), secretReference], { error: 'the value must be text' }))
  .transform((env, context): Record<string, string> => {
    const values: Record<string, string> = {}
    const entries = Object.entries(env)
    const refuse = (key: string, message: string) =>
      context.addIssue({ code: 'custom', path: [key], message, input: undefined })
    if (entries.length > maxEntries)
      context.addIssue({
        code: 'custom',
        message: `has ${entries.length} entries, at most ${maxEntries} fit`,
        input: undefined,
      })
    for (const [key, value] of entries) {
      if (!/^[A-Za-z_][A-Za-z0-9_]*$/.test(key))
        refuse(key, 'the name must be letters, digits and "_", and not begin with a digit')
      else if (platformKey.test(key)) refuse(key, 'the name is set by Berth (PORT and K_*)')
      else if (typeof value !== 'string') refuse(key, 'secrets are not available yet')
      else if (Buffer.byteLength(value) > maxValueBytes) refuse(key, 'the value may have at most 32 KiB')
      else values[key] = value
    }
    return values
  })
