import { setTimeout as delay } from 'node:timers/promises'
import { ExactTimers } from '../load/exact-timers.ts'
import { replay } from '../load/replay.ts'
import type { Schedule } from '../load/schedule.ts'
import type { RunningProxy } from '../proxies/proxy.ts'
import { type Seen, startReplicas } from './replicas.ts'

const connections = 128
/** After the last client has gone, for what replicas still have to do. */
const settleMs = 500

/** What became of a schedule, by the place of each request in it. */
export type Served = {
  /** Milliseconds from the scheduled time to the arrival at a replica; NaN where it did not get there. */
  waitsMs: Float64Array
  answered: number
  seen: Seen
}

/** A service whose replicas and clients are in this process, so that waits are read on one clock. */
export type Service = {
  ports: readonly number[]
  /** Sends `schedule` through `proxy`. Clients with a `patience` leave so many milliseconds after their time. */
  serve(proxy: RunningProxy, schedule: Schedule, patience?: readonly (number | undefined)[]): Promise<Served>
  close(): void
}

export async function startService(replicaCount: number, serviceMs: number): Promise<Service> {
  const timers = new ExactTimers()
  let arrivals = new Float64Array()
  const replicas = await startReplicas(replicaCount, serviceMs, timers, (path, at) => {
    arrivals[Number(path.slice(1))] = at
  })
  return {
    ports: replicas.ports,
    async serve({ port }, schedule, patience = []) {
      arrivals = new Float64Array(schedule.length).fill(Number.NaN)
      const before = { ...replicas.seen }
      const { startedAt, latenciesMs } = await replay(schedule, {
        port,
        timers,
        connections,
        pathOf: (index) => `/${index}`,
        leavesAfter: (index) => patience[index],
      })
      await delay(settleMs)
      return {
        waitsMs: arrivals.map((at, index) => at - startedAt - (schedule[index] ?? 0)),
        answered: latenciesMs.filter((latency) => !Number.isNaN(latency)).length,
        seen: {
          requests: replicas.seen.requests - before.requests,
          overlaps: replicas.seen.overlaps - before.overlaps,
          workMs: replicas.seen.workMs - before.workMs,
        },
      }
    },
    close: () => replicas.close(),
  }
}
