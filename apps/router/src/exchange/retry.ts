import type { UpstreamFailure } from '../upstream/upstream.ts'

/** RFC 9110, 9.2.2. */
const idempotentMethods = new Set(['GET', 'HEAD', 'OPTIONS', 'PUT', 'DELETE'])
const maxRetries = 1

export type Attempt = {
  method: string
  /** How often the request was tried again already. */
  retries: number
  failure: UpstreamFailure
  /** The body is unread, or kept whole so far: it can be sent from its start. */
  bodyCanRestart: boolean
}

/**
 * The one rule for trying again: any method when no byte of the request was written, an idempotent one when no byte
 * of the answer came; in both cases once, and only with a body that can be sent from its start.
 */
export function mayRetry(attempt: Attempt): boolean {
  const { kind, written, received } = attempt.failure
  if (attempt.retries >= maxRetries || received || !attempt.bodyCanRestart) return false
  return !written || (kind !== 'protocol' && idempotentMethods.has(attempt.method))
}
