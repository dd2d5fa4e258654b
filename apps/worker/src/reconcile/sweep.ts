import type { ServiceUid } from '@berth/contracts'
import { listServicesBehind, type Database } from '@berth/db'
import type { Logger } from 'pino'

export type SweepOptions = {
  db: Database
  /** Asks for a pass; called once a round for every service that is behind. */
  reconcile: (service: ServiceUid) => void
  log: Logger
  intervalMs?: number
}

const sweepEveryMs = 2_000

/**
 * Finds what every other way forgot: a lost job, a lost notification, a worker that died in a pass. The leader runs
 * it. `close` waits for the round under way.
 */
export function startSweep(options: SweepOptions): { close(): Promise<void> } {
  const { db, log, reconcile, intervalMs = sweepEveryMs } = options
  let failing = false
  let round: Promise<void> = Promise.resolve()
  let running = false

  async function sweep(): Promise<void> {
    try {
      for (const service of await listServicesBehind(db)) reconcile(service)
      failing = false
    } catch (error) {
      if (!failing) log.warn({ err: error }, 'sweep could not read the services')
      failing = true
    } finally {
      running = false
    }
  }

  const timer = setInterval(() => {
    if (running) return
    running = true
    round = sweep()
  }, intervalMs)
  return {
    async close() {
      clearInterval(timer)
      await round
    },
  }
}
