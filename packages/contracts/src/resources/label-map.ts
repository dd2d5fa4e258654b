import { z } from 'zod'

const name = /^[A-Za-z0-9](?:[A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?$/
const prefix =
  /^(?=.{1,253}\/)[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?(?:\.[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?)*\//
const maxEntries = 64
const maxAnnotationBytes = 64 * 1024

/** Why `key` is no label key in Kubernetes' form (`[prefix/]name`), or undefined when it is one. */
export function labelKeyProblem(key: string): string | undefined {
  const bare = key.includes('/') ? (prefix.test(key) ? key.slice(key.indexOf('/') + 1) : '') : key
  if (name.test(bare)) return undefined
  return 'must be a Kubernetes label key: [DNS prefix/]name, the name 1 to 63 letters, digits, "-", "_" and "."'
}

function keyedMap(valueProblem: (value: string) => string | undefined) {
  return z.record(z.string(), z.string()).superRefine((map, context) => {
    const entries = Object.entries(map)
    if (entries.length > maxEntries)
      context.addIssue({
        code: 'custom',
        message: `has ${entries.length} entries, at most ${maxEntries} fit`,
      })
    for (const [key, value] of entries) {
      const problem = labelKeyProblem(key) ?? valueProblem(value)
      if (problem !== undefined) context.addIssue({ code: 'custom', path: [key], message: problem })
    }
  })
}

/** Labels and node selectors: keys and values in Kubernetes' form. */
export const labelMap = keyedMap((value) =>
  value === '' || name.test(value)
    ? undefined
    : 'the value must be empty or 1 to 63 letters, digits, "-", "_" and "."',
)

/** Annotations: keys in Kubernetes' form, any text of up to 64 KiB as value. */
export const annotationMap = keyedMap((value) =>
  Buffer.byteLength(value) <= maxAnnotationBytes ? undefined : 'the value may have at most 64 KiB',
)
