import { startApp } from '../load/app.ts'
import type { ExactTimers } from '../load/exact-timers.ts'
import { smallAnswer } from '../load/replay.ts'

export type Seen = {
  requests: number
  /** Requests that came while their replica was at work on another one. */
  overlaps: number
  /** For all requests together. It is more than asked for where the machine kept this process waiting. */
  workMs: number
}

/** Replicas of a service on 127.0.0.1, with what they have seen so far. */
export type Replicas = {
  ports: readonly number[]
  seen: Seen
  close(): void
}

/**
 * Starts `count` replicas that work for `serviceMs` on each request, whether its client is still there or not.
 * `onArrival` is told the path of each request when it is there, on the clock of `performance.now()`.
 */
export async function startReplicas(
  count: number,
  serviceMs: number,
  timers: ExactTimers,
  onArrival: (path: string, at: number) => void,
): Promise<Replicas> {
  const seen: Seen = { requests: 0, overlaps: 0, workMs: 0 }
  const startOne = () => {
    let atWork = 0
    return startApp((path, answer) => {
      const now = performance.now()
      onArrival(path, now)
      seen.requests += 1
      if (atWork > 0) seen.overlaps += 1
      atWork += 1
      timers.at(now + serviceMs, () => {
        atWork -= 1
        seen.workMs += performance.now() - now
        answer(smallAnswer)
      })
    })
  }
  const apps = await Promise.all(Array.from({ length: count }, startOne))
  return {
    ports: apps.map(({ port }) => port),
    seen,
    close() {
      for (const app of apps) app.close()
    },
  }
}
