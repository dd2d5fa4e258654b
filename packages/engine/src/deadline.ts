/**
 * Ends a call when time is up or the caller does not want it any more. `reason` tells which afterwards.
 * Dispose it, or the timer keeps running.
 */
export type Deadline = {
  readonly signal: AbortSignal
  readonly reason: 'running' | 'timeout' | 'aborted'
  /** Starts the time anew: for calls whose limit is on standing still. */
  touch(): void
  /** Takes the limit away; the caller can still end the call. */
  lift(): void
  [Symbol.dispose](): void
}

export function startDeadline(limitMs: number, outer?: AbortSignal): Deadline {
  const controller = new AbortController()
  let reason: Deadline['reason'] = 'running'
  const end = (why: 'timeout' | 'aborted') => {
    if (reason !== 'running') return
    reason = why
    controller.abort()
  }
  const timer = setTimeout(() => end('timeout'), limitMs)
  const onAbort = () => end('aborted')
  outer?.addEventListener('abort', onAbort, { once: true })
  if (outer?.aborted) onAbort()
  return {
    signal: controller.signal,
    get reason() {
      return reason
    },
    touch() {
      timer.refresh()
    },
    lift() {
      clearTimeout(timer)
    },
    [Symbol.dispose]() {
      clearTimeout(timer)
      outer?.removeEventListener('abort', onAbort)
    },
  }
}
