import { LeaseLostError, StoreUnavailableError, type Database, type LeaseRef } from '@berth/db'
import type { Logger } from 'pino'

/*
 * Rows are written right behind what the leader has done, in order for each key (a replica's id). While the
 * database is away the writes wait, and everything else goes on.
 */

export type RowWriter = {
  /** Writes `what` for `key` when what was asked for before is written. Never throws. */
  write(key: string, what: string, work: (db: Database, lease: LeaseRef) => Promise<unknown>): void
  /** Whether a row that was read at `since` (a `moment()`) may be older than what was done to it. */
  touchedSince(key: string, since: number): boolean
  moment(): number
  /** Resolves when nothing is left to write, or the writer is closed. */
  idle(): Promise<void>
  /** Writes under way end, those that wait are dropped. */
  close(): void
}

export type RowWriterOptions = {
  db: Database
  lease: LeaseRef
  /** A newer leader is there: nothing is written any more. */
  onLeaseLost: () => void
  log: Logger
  retryMs?: number
}

const defaultRetryMs = 200
const maxRetryMs = 2_000
/** More than this waits for one key only when the database is away for long; the oldest have lost their worth. */
const maxWaiting = 200

type Line = { waiting: { what: string; work: (db: Database, lease: LeaseRef) => Promise<unknown> }[] }

export function createRowWriter(options: RowWriterOptions): RowWriter {
  const { db, lease, log, retryMs = defaultRetryMs } = options
  const lines = new Map<string, Line>()
  const settledAt = new Map<string, number>()
  const idleWaiters = new Set<() => void>()
  const sleepers = new Set<() => void>()
  let moment = 1
  let closed = false
  let away = false

  function pause(ms: number): Promise<void> {
    return new Promise((resolve) => {
      const wake = () => {
        clearTimeout(timer)
        sleepers.delete(wake)
        resolve()
      }
      const timer = setTimeout(wake, ms)
      sleepers.add(wake)
    })
  }

  async function attempt(what: string, key: string, work: () => Promise<unknown>): Promise<void> {
    for (let wait = retryMs; !closed; wait = Math.min(wait * 2, maxRetryMs)) {
      try {
        await work()
        if (away) log.info('rows are written again')
        away = false
        return
      } catch (error) {
        if (error instanceof LeaseLostError) {
          close()
          options.onLeaseLost()
          return
        }
        if (!(error instanceof StoreUnavailableError)) {
          log.error({ err: error, key, what }, 'row could not be written')
          return
        }
        if (!away) log.warn({ err: error }, 'rows wait for the database')
        away = true
        await pause(wait)
      }
    }
  }

  async function drain(key: string, line: Line): Promise<void> {
    for (;;) {
      const next = line.waiting[0]
      if (next === undefined || closed) break
      await attempt(next.what, key, () => next.work(db, lease))
      line.waiting.shift()
    }
    lines.delete(key)
    settledAt.set(key, (moment += 1))
    if (settledAt.size > 10_000)
      for (const old of [...settledAt.keys()].slice(0, 5_000)) settledAt.delete(old)
    if (lines.size === 0) for (const resolve of idleWaiters) resolve()
  }

  function close(): void {
    closed = true
    for (const wake of sleepers) wake()
    for (const line of lines.values()) line.waiting.splice(1)
  }

  return {
    write(key, what, work) {
      if (closed) return
      const line = lines.get(key)
      if (line === undefined) {
        const started: Line = { waiting: [{ what, work }] }
        lines.set(key, started)
        void drain(key, started)
        return
      }
      line.waiting.push({ what, work })
      if (line.waiting.length > maxWaiting) line.waiting.splice(1, 1)
    },
    touchedSince: (key, since) => lines.has(key) || (settledAt.get(key) ?? 0) > since,
    moment: () => moment,
    idle() {
      if (lines.size === 0) return Promise.resolve()
      return new Promise((resolve) => {
        idleWaiters.add(resolve)
      })
    },
    close,
  }
}
