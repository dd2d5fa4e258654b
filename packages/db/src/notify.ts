import { serviceChangedChannel } from '@berth/contracts'
import { sql } from 'drizzle-orm'
import { setTimeout as delay } from 'node:timers/promises'
import pg from 'pg'
import type { Executor } from './connection.ts'
import { sessionBounds } from './session-bounds.ts'

/** Tells listeners, once the transaction has committed, that rows of the service have changed. A hint only. */
export async function notifyServiceChanged(db: Executor, serviceUid: string): Promise<void> {
  await db.execute(sql`select pg_notify(${serviceChangedChannel}, ${serviceUid})`)
}

export type ServiceChangeListener = {
  onChange(serviceUid: string): void
  /** Listening again after the start or an outage: what changed meanwhile was missed, so read everything. */
  onListening?(): void
  /** Once per outage. */
  onLost?(message: string): void
}

const firstRetryMs = 100
const maxRetryMs = 2_000
const checkEveryMs = 5_000
const bounds = sessionBounds({ statementMs: 2_000, lockMs: 2_000, idleInTransactionMs: 2_000 })

/**
 * Listens on a connection of its own until closed, and connects again whenever that breaks. Never throws.
 * `close` resolves when the connection has ended.
 */
export function listenForServiceChanges(
  url: string,
  listener: ServiceChangeListener,
): { close(): Promise<void> } {
  const stop = new AbortController()
  const done = keepListening(url, listener, stop.signal)
  return {
    async close() {
      stop.abort()
      await done
    },
  }
}

async function keepListening(url: string, listener: ServiceChangeListener, signal: AbortSignal) {
  let retryMs = firstRetryMs
  let reported = false
  while (!signal.aborted) {
    const lost = await listenOnce(url, listener, signal, () => {
      retryMs = firstRetryMs
      reported = false
    })
    if (signal.aborted) return
    if (!reported) listener.onLost?.(lost)
    reported = true
    await delay(retryMs, undefined, { signal }).catch(() => {})
    retryMs = Math.min(retryMs * 2, maxRetryMs)
  }
}

/** Resolves with the reason when the connection is over. */
async function listenOnce(
  url: string,
  listener: ServiceChangeListener,
  signal: AbortSignal,
  connected: () => void,
): Promise<string> {
  const client = new pg.Client({
    connectionString: url,
    application_name: 'berth-listen',
    ...bounds,
  })
  const broken = new Promise<string>((resolve) => {
    client.on('error', (error) => resolve(error.message))
    client.on('end', () => resolve('the connection ended'))
    signal.addEventListener('abort', () => resolve('closed'), { once: true })
  })
  client.on('notification', ({ payload }) => {
    if (payload) listener.onChange(payload)
  })
  let check: NodeJS.Timeout | undefined
  try {
    await client.connect()
    await client.query(`listen ${serviceChangedChannel}`)
    connected()
    listener.onListening?.()
    // A server that vanished without a word is noticed by asking.
    check = setInterval(() => {
      client.query('select 1').catch(() => client.end().catch(() => {}))
    }, checkEveryMs)
    return await broken
  } catch (error) {
    return error instanceof Error ? error.message : String(error)
  } finally {
    clearInterval(check)
    await client.end().catch(() => {})
  }
}
