import {
  reconcileJob,
  reconcileQueue,
  redisKeys,
  type ReconcileReason,
  type ServiceUid,
} from '@berth/contracts'
import { Worker } from 'bullmq'
import { Redis } from 'ioredis'
import type { Logger } from 'pino'

/*
 * The queue is a hint: it carries ids and a reason, and everything in it may be lost at any time. What keeps two
 * passes of one service apart is the lease in Postgres, what finds forgotten services is the sweep.
 */

export type QueueOptions = {
  /** `redis://…`, or the path of a unix socket. */
  redisUrl: string
  installation: string
  log: Logger
}

const concurrency = 8
const lockMs = 5_000
const stalledCheckMs = 1_000
const maxReconnectDelayMs = 1_000
const retryStrategy = (attempt: number) => Math.min(maxReconnectDelayMs, attempt * 100)
/** After a refusal of Redis, such as being full; BullMQ's own pause is 15 s. */
const askAgainMs = 1_000
/** A pass that its worker did not survive is simply done again, however often. */
const maxStalledCount = 1_000_000

/**
 * Runs `work` for jobs, eight at a time, as long as Redis is there. A failed pass is not tried again here: `work`
 * takes care of that itself. `close` waits for passes under way.
 */
export function startReconcileConsumer(
  { redisUrl, installation, log }: QueueOptions,
  work: (service: ServiceUid, reason: ReconcileReason) => Promise<void>,
): { close(): Promise<void> } {
  const connection = new Redis(redisUrl, { retryStrategy, maxRetriesPerRequest: null })
  const outage = oncePerOutage(log, 'reconcile jobs cannot be read')
  connection.on('ready', outage.over)
  connection.on('error', outage.report)
  const worker = new Worker(
    reconcileQueue,
    async (job) => {
      const data = reconcileJob.safeParse(job.data)
      if (!data.success) {
        log.warn({ job: job.id }, 'malformed reconcile job dropped')
        return
      }
      await work(data.data.service as ServiceUid, data.data.reason)
    },
    {
      connection,
      prefix: redisKeys(installation).queuePrefix,
      concurrency,
      lockDuration: lockMs,
      stalledInterval: stalledCheckMs,
      maxStalledCount,
      runRetryDelay: askAgainMs,
      skipVersionCheck: true,
      removeOnComplete: { count: 0 },
      removeOnFail: { count: 0 },
    },
  )
  worker.on('error', outage.report)
  return {
    async close() {
      // Without Redis a polite close would wait for it to come back.
      await worker.close(connection.status !== 'ready').catch(() => {})
      connection.disconnect()
    },
  }
}

/** An outage is told once, not per attempt. */
function oncePerOutage(log: Logger, message: string) {
  let told = false
  return {
    report: (error: unknown) => {
      if (told) return
      told = true
      log.warn({ cause: error instanceof Error ? error.message : String(error) }, message)
    },
    over: () => {
      told = false
    },
  }
}
