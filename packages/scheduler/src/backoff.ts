const firstBackoffMs = 1000
const maxBackoffMs = 60_000
export const healthyResetMs = 10 * 60_000

const startsWaitedFor = 3.5
const minQueueDeadlineMs = 10_000

/**
 * How long to wait before a replica's restart: 1 s, 2 s, 4 s and so on to 60 s. `attempt` counts from 1;
 * a replica that was healthy for 10 minutes begins anew, so keep no count beyond that.
 */
export function restartBackoffMs(attempt: number, healthyMs: number): number {
  if (healthyMs >= healthyResetMs) return firstBackoffMs
  const doublings = Math.min(16, Math.max(0, attempt - 1))
  return Math.min(maxBackoffMs, firstBackoffMs * 2 ** doublings)
}

/**
 * What is left at `now` of a wait that began at `since`, in ms. Never more than all of it: the two moments may have been
 * told by different clocks.
 */
export function waitLeftMs(waitMs: number, since: number, now: number): number {
  return Math.min(waitMs, Math.max(0, since + waitMs - now))
}

/** How long a request may wait for a slot: 3.5 starts, at least 10 s, never beyond its own timeout. */
export function queueDeadlineMs(wait: { meanStartMs: number; timeoutMs: number }): number {
  return Math.min(Math.max(startsWaitedFor * wait.meanStartMs, minQueueDeadlineMs), wait.timeoutMs)
}
