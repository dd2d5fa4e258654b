import type { ExactTimers } from '../load/exact-timers.ts'
import { replay } from '../load/replay.ts'
import { steady } from '../load/schedule.ts'
import { percentile } from '../statistics.ts'

/** Far from the limit of every proxy. */
export const perSecond = 2000

/** In milliseconds. */
export type Latency = { p50: number; p99: number }

/** Of small GETs on a fixed schedule. Throws where a request has no answer. */
export async function latencyAt(
  name: string,
  port: number,
  timers: ExactTimers,
  seconds: number,
): Promise<Latency> {
  const { latenciesMs } = await replay(steady(perSecond, seconds), { port, timers })
  const failed = latenciesMs.filter(Number.isNaN).length
  if (failed > 0) throw new Error(`${failed} of ${latenciesMs.length} requests to ${name} failed`)
  return { p50: percentile(latenciesMs, 50), p99: percentile(latenciesMs, 99) }
}
