import type { Environment, RevisionTemplate } from '@berth/contracts'
import { createHash } from 'node:crypto'

/**
 * SHA-256 over all that a revision is made from except the image's digest, the same for the same content whatever
 * the order of keys. It covers the decrypted environment, so it stays in the database.
 */
export function contentHash(template: RevisionTemplate, env: Environment): string {
  return createHash('sha256').update(canonical({ template, env })).digest('hex')
}

/** JSON with sorted keys; absent and undefined are the same. */
function canonical(value: unknown): string {
  if (Array.isArray(value)) return `[${value.map(canonical).join(',')}]`
  if (value !== null && typeof value === 'object')
    return `{${Object.entries(value)
      .filter(([, entry]) => entry !== undefined)
      .sort(([a], [b]) => (a < b ? -1 : 1))
      .map(([key, entry]) => `${JSON.stringify(key)}:${canonical(entry)}`)
      .join(',')}}`
  return JSON.stringify(value)
}
