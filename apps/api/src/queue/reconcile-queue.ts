import { reconcileQueue, redisKeys, type ReconcileJob, type ReconcileReason } from '@berth/contracts'
import { Queue } from 'bullmq'
import { Redis } from 'ioredis'
import type { Logger } from 'pino'

/** Hints to the workers that a service needs a look; the truth is in Postgres. */
export type ReconcileHints = {
  /** Returns at once and never throws: a hint that is lost costs until the next NOTIFY or sweep. */
  send(service: string, reason: ReconcileReason): void
  close(): Promise<void>
}

const commandTimeoutMs = 1_000
const maxReconnectMs = 2_000

/** `redisUrl` is a URL or the path of a unix socket. Never waits for Redis to be there. */
export function openReconcileHints(redisUrl: string, installation: string, log: Logger): ReconcileHints {
  const connection = new Redis(redisUrl, {
    enableOfflineQueue: false,
    maxRetriesPerRequest: 1,
    commandTimeout: commandTimeoutMs,
    retryStrategy: (attempt) => Math.min(attempt * 100, maxReconnectMs),
  })
  const queue = new Queue<ReconcileJob>(reconcileQueue, {
    connection,
    prefix: redisKeys(installation).queuePrefix,
    skipWaitingForReady: true,
    skipVersionCheck: true,
    skipMetasUpdate: true,
    defaultJobOptions: { removeOnComplete: true, removeOnFail: true },
  })
  let reported = false
  const lost = (error: Error) => {
    if (!reported) log.warn({ err: error }, 'redis lost')
    reported = true
  }
  connection.on('error', lost)
  connection.on('ready', () => {
    if (reported) log.info('redis is back')
    reported = false
  })
  queue.on('error', lost)
  return {
    send(service, reason) {
      const deduplication = { id: service, keepLastIfActive: true }
      queue.add('reconcile', { service, reason }, { deduplication }).catch(lost)
    },
    async close() {
      await queue.close().catch(() => {})
      connection.disconnect()
    },
  }
}
