import type { Logger } from 'pino'

export type Round = {
  ms: number
  /** For the log. */
  what: string
  work: () => void | Promise<void>
}

/**
 * Runs `work` at most every `ms`, never twice at once, until the signal aborts or it is closed. A failure is told once
 * until it works again.
 */
export function startRound({ ms, what, work }: Round, signal: AbortSignal, log: Logger): () => void {
  let running = false
  let failing = false

  async function run(): Promise<void> {
    running = true
    try {
      await work()
      failing = false
    } catch (error) {
      if (!failing && !signal.aborted) log.warn({ err: error, what }, 'a round of the leader failed')
      failing = true
    } finally {
      running = false
    }
  }

  const timer = setInterval(() => {
    if (!running && !signal.aborted) void run()
  }, ms)
  return () => clearInterval(timer)
}
