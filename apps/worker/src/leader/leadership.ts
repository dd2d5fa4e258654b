import type { WorkerId } from '@berth/contracts'
import {
  acquireLease,
  leaderLeaseName,
  releaseLease,
  renewLease,
  StoreUnavailableError,
  type Database,
  type LeaseRef,
} from '@berth/db'
import { LeaseLostError, type Fence } from '@berth/engine'
import type { Logger } from 'pino'
import { pause } from './pause.ts'

/*
 * waiting  tries to take the lease every second
 * leading  renews it every second; ends when the renewal says that somebody else has it
 *
 * Without the database nobody can take the lease over, so the leader goes on leading, but with half a fence: after
 * `fenceMs` without a renewal nothing is stopped, frozen or removed any more; what only wakes goes on as long as
 * renewals are tried and answered "unavailable". A process that was stopped in between has not tried and is fenced.
 */

const leaseDurationMs = 5_000
const renewEveryMs = 1_000
const fenceMs = 4_000
/** A database that has not answered a renewal by then counts as away. */
const answerMs = 1_500

/** One time of leading. `signal` aborts when it is over. */
export type Term = {
  lease: LeaseRef
  /** For everything that changes an engine. */
  fence: Fence
  /** For what only brings back what is there: allowed without the database too. */
  wakeFence: Fence
  signal: AbortSignal
  /** Whether the lease was renewed in time, so that step-downs are allowed. */
  isFresh: () => boolean
  /** Something else has found the lease lost: ends the term at once. */
  lose: () => void
}

export type LeadershipOptions = {
  db: Database
  worker: WorkerId
  log: Logger
  /** Leads until the term's signal aborts. What it throws ends the term. */
  lead(term: Term): Promise<void>
  /** Monotonic milliseconds. */
  now?: () => number
  renewEveryMs?: number
}

export type Leadership = {
  isLeading(): boolean
  /** Ends the term, gives the lease back and waits until everything has stopped. */
  close(): Promise<void>
}

export function startLeadership(options: LeadershipOptions): Leadership {
  const { db, worker, log } = options
  const now = options.now ?? (() => performance.now())
  const everyMs = options.renewEveryMs ?? renewEveryMs
  const closing = new AbortController()
  let leading = false

  async function campaign(): Promise<void> {
    let told = false
    while (!closing.signal.aborted) {
      const askedAt = now()
      try {
        const lease = await acquireLease(db, leaderLeaseName, worker, leaseDurationMs)
        told = false
        if (lease) await holdTerm(lease, askedAt)
      } catch (error) {
        if (!told) log.warn({ err: error }, 'the leader lease cannot be asked for')
        told = true
      }
      await pause(everyMs, closing.signal)
    }
  }

  async function holdTerm(lease: LeaseRef, askedAt: number): Promise<void> {
    const over = new AbortController()
    const signal = AbortSignal.any([over.signal, closing.signal])
    // Ages count from before the question: the database may have answered late.
    let renewedAt = askedAt
    let answeredAt = askedAt
    const lose = () => over.abort()
    const check = (at: () => number) => ({
      check() {
        if (over.signal.aborted) throw new LeaseLostError('this worker leads no longer')
        if (now() - at() > fenceMs) throw new LeaseLostError('the leader lease was not renewed in time')
      },
    })
    const term: Term = {
      lease,
      fence: check(() => renewedAt),
      wakeFence: check(() => answeredAt),
      signal,
      isFresh: () => now() - renewedAt <= fenceMs,
      lose,
    }

    /** An answer counts whenever it comes: it says how things stood when the question was asked. */
    async function renew(): Promise<void> {
      const askedAt = now()
      const answer = renewLease(db, lease, leaseDurationMs).then(
        (renewed) => {
          if (renewed) renewedAt = Math.max(renewedAt, askedAt)
          else if (!signal.aborted) {
            log.warn({ epoch: lease.epoch }, 'leader lease lost')
            lose()
          }
        },
        (error: unknown) => {
          if (error instanceof StoreUnavailableError) return
          log.error({ err: error }, 'leader lease could not be renewed')
          throw error
        },
      )
      await within(answerMs, answer)
      // Answered, or away: only what went wrong in another way is no try.
      answeredAt = askedAt
    }

    async function keepRenewing(): Promise<void> {
      while (!signal.aborted) {
        await pause(everyMs, signal)
        if (!signal.aborted) await renew().catch(() => {})
      }
    }

    leading = true
    log.info({ epoch: lease.epoch }, 'this worker leads')
    const renewing = keepRenewing()
    try {
      await options.lead(term)
    } catch (error) {
      if (!signal.aborted) log.error({ err: error }, 'leading ended with an error')
    } finally {
      leading = false
      lose()
      await renewing
      await releaseLease(db, lease).catch(() => {})
      log.info({ epoch: lease.epoch }, 'this worker leads no longer')
    }
  }

  const running = campaign()
  return {
    isLeading: () => leading,
    async close() {
      closing.abort()
      await running
    },
  }
}

/** Resolves when `work` does, at the latest after `ms`. */
async function within(ms: number, work: Promise<void>): Promise<void> {
  let timer: NodeJS.Timeout | undefined
  const late = new Promise<void>((resolve) => {
    timer = setTimeout(resolve, ms)
  })
  try {
    await Promise.race([work, late])
  } finally {
    clearTimeout(timer)
    work.catch(() => {})
  }
}
