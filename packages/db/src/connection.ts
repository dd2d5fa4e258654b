import { NodePgDatabase } from 'drizzle-orm/node-postgres'
import { PgDialect, type PgTransactionConfig } from 'drizzle-orm/pg-core'
import pg from 'pg'
import { sessionBounds } from './session-bounds.ts'
import { StoreConflictError, StoreUnavailableError } from './store-error.ts'
import { StoreSession, type Transaction } from './store-session.ts'

export type { Transaction } from './store-session.ts'

/** A pool of connections. Every query fails with an error of `store-error.ts`, never with one of the driver. */
export type Database = NodePgDatabase & {
  /** Ends all connections after what runs on them. Safe to call twice. */
  close(): Promise<void>
}

/** Query functions take either, so that they can be put together into transactions. */
export type Executor = Database | Transaction

export type DatabaseOptions = {
  applicationName: string
  maxConnections: number
  /** Told of every connection that broke while idle. Default: nobody; the next query finds out by itself. */
  onConnectionLost?: (message: string) => void
}

const bounds = sessionBounds({ statementMs: 10_000, lockMs: 5_000, idleInTransactionMs: 10_000 })
const idleConnectionMs = 30_000

/**
 * Opens no connection yet: the first query does. `url` is `postgres://user@host/database`, for a unix socket
 * `postgres://user@localhost/database?host=<folder>`.
 */
export function openDatabase(url: string, options: DatabaseOptions): Database {
  const pool = new pg.Pool({
    connectionString: url,
    application_name: options.applicationName,
    max: options.maxConnections,
    idleTimeoutMillis: idleConnectionMs,
    ...bounds,
  })
  const lost = (error: Error) => options.onConnectionLost?.(error.message)
  // Both would end the process if nobody listened: a connection that breaks between two statements of a transaction,
  // and one that breaks while idle, of which the pool tells once more.
  pool.on('connect', (client) => client.on('error', lost))
  pool.on('error', () => {})

  const dialect = new PgDialect()
  const database = new NodePgDatabase(dialect, new StoreSession(pool, dialect, pool), undefined)
  let closing: Promise<void> | undefined
  return Object.assign(database, { close: () => (closing ??= pool.end()) })
}

const maxAttempts = 5

/**
 * Runs `work` in a transaction and again when it conflicts with another one, five times at most; then it fails
 * with `StoreUnavailableError`. Given a transaction, `work` becomes part of that. It must not act on anything but
 * the database, since it may run several times.
 */
export async function withTransaction<T>(
  executor: Executor,
  work: (tx: Transaction) => Promise<T>,
  config: PgTransactionConfig = {},
): Promise<T> {
  if (!('close' in executor)) return work(executor)
  for (let attempt = 1; ; attempt += 1) {
    try {
      return await executor.transaction(work, config)
    } catch (error) {
      if (!(error instanceof StoreConflictError)) throw error
      if (attempt === maxAttempts) throw new StoreUnavailableError(error.code)
    }
  }
}

/** Whether the database answers a trivial query now. Never throws. */
export async function databaseAnswers(database: Database): Promise<boolean> {
  try {
    await database.execute('select 1')
    return true
  } catch {
    return false
  }
}
