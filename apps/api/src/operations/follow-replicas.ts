import type { LogLine } from '@berth/contracts'
import { setTimeout as delay } from 'node:timers/promises'
import { mergeAsTheyCome } from './merge-lines.ts'

/** From where a log is read: since when, in milliseconds since 1970, and at most how many of its lines. */
export type LogStart = { sinceMs?: number; tail?: number }

export type FollowOptions = {
  /** The replicas that there are now; null when there will be none any more. */
  replicas(): Promise<readonly string[] | null>
  /** Lines of one replica until it stops. */
  read(replica: string, from: LogStart): AsyncIterable<LogLine>
  from: LogStart
  signal: AbortSignal
  lookEveryMs?: number
}

const defaultLookEveryMs = 2_000

/**
 * The lines of a service's replicas as they come: of those that are there, of those that start later, and again of
 * one that was stopped and woke. Ends when there is nothing left to follow, or with the signal.
 */
export function followReplicas(options: FollowOptions): AsyncGenerator<LogLine> {
  const { signal, lookEveryMs = defaultLookEveryMs } = options
  const open = new Set<string>()
  /** Where to go on with a replica that was read before. */
  const goesOn = new Map<string, number>()

  async function* lines(replica: string, from: LogStart): AsyncGenerator<LogLine> {
    try {
      for await (const line of options.read(replica, from)) {
        goesOn.set(replica, Date.parse(line.at) + 1)
        yield line
      }
    } finally {
      open.delete(replica)
    }
  }

  function startOf(replica: string, isFirst: boolean): LogStart {
    const sinceMs = goesOn.get(replica) ?? options.from.sinceMs
    // The newest lines are those before anything was followed; of what comes later all are.
    return isFirst ? options.from : sinceMs === undefined ? {} : { sinceMs }
  }

  async function* sources(): AsyncGenerator<AsyncIterable<LogLine>> {
    for (let isFirst = true; !signal.aborted; isFirst = false) {
      // Without the database those that are followed go on.
      const replicas = await options.replicas().catch(() => [])
      if (replicas === null) return
      for (const replica of replicas.filter((id) => !open.has(id))) {
        open.add(replica)
        yield lines(replica, startOf(replica, isFirst))
      }
      await delay(lookEveryMs, undefined, { signal }).catch(() => {})
    }
  }

  return mergeAsTheyCome(sources())
}
