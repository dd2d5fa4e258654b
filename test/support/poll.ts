import { setTimeout as delay } from 'node:timers/promises'

export type PollOptions = {
  /** Deadline in milliseconds, 30 s by default: generous, because a busy machine is not a failure. */
  timeoutMs?: number
  /** What is waited for, as it should read in "timed out waiting for ...". */
  describe?: string
  intervalMs?: number
}

/**
 * Asks `check` until it answers with something other than undefined, null or false, and returns that.
 * An exception counts as "not yet"; after the deadline the last one becomes the cause of the error.
 */
export async function until<Value>(
  check: () => Value | Promise<Value>,
  options: PollOptions = {},
): Promise<Exclude<Value, undefined | null | false>> {
  const { timeoutMs = 30_000, describe = 'a condition', intervalMs = 20 } = options
  const deadline = performance.now() + timeoutMs
  let lastError: unknown
  let lastValue: unknown
  for (;;) {
    try {
      const value = await check()
      lastError = undefined
      lastValue = value
      if (isPresent(value)) return value
    } catch (error) {
      lastError = error
    }
    if (performance.now() >= deadline) {
      const seen =
        lastError === undefined ? `last value ${JSON.stringify(lastValue)}` : describeError(lastError)
      throw new Error(`timed out after ${timeoutMs} ms waiting for ${describe}; ${seen}`, {
        cause: lastError,
      })
    }
    await delay(intervalMs)
  }
}

function isPresent<Value>(value: Value): value is Exclude<Value, undefined | null | false> {
  return value !== undefined && value !== null && value !== false
}

function describeError(error: unknown): string {
  return error instanceof Error ? error.message : JSON.stringify(error)
}
