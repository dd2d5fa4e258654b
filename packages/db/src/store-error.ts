import { DrizzleQueryError } from 'drizzle-orm'

/*
 * What the database did to us. Messages carry neither SQL nor parameters, because both carry secrets; for the same
 * reason the driver's error is not kept as a cause (its `detail` shows values of rows).
 */

/** The database refused a statement for a reason of its own; `code` is the SQLSTATE. */
export class StoreError extends Error {
  readonly code: string

  constructor(message: string, code: string) {
    super(message)
    this.name = 'StoreError'
    this.code = code
  }
}

/** The database does not answer in time, or not at all. Nothing is known about the statement under way. */
export class StoreUnavailableError extends StoreError {
  constructor(code: string) {
    super(`the database is not available (${code})`, code)
    this.name = 'StoreUnavailableError'
  }
}

/** A unique index or primary key has the value already. */
export class UniqueViolationError extends StoreError {
  readonly constraint: string

  constructor(constraint: string) {
    super(`the value is taken (${constraint})`, '23505')
    this.name = 'UniqueViolationError'
    this.constraint = constraint
  }
}

/** Two transactions got into each other's way; `withTransaction` tries again by itself. */
export class StoreConflictError extends StoreError {
  constructor(code: string) {
    super(`the transaction conflicts with another one (${code})`, code)
    this.name = 'StoreConflictError'
  }
}

const conflictCodes = new Set(['40001', '40P01'])
/** Statement, lock and idle timeouts; shut down, starting up, too many connections. */
const unavailableCodes = new Set(['57014', '55P03', '25P03', '57P01', '57P02', '57P03', '57P05', '53300'])
const connectionFailures =
  /^(Connection terminated|timeout exceeded when trying to connect|Query read timeout|Client has encountered a connection error|Cannot use a pool after|Client was closed)/

/** The error of ours for one of drizzle, pg or the socket; errors of other kinds come back unchanged. */
export function translateStoreError(error: unknown): unknown {
  const inner: unknown = error instanceof DrizzleQueryError ? error.cause : error
  if (!(inner instanceof Error) || inner instanceof StoreError) return inner
  const code = 'code' in inner && typeof inner.code === 'string' ? inner.code : ''
  if (code === '23505') return new UniqueViolationError(constraintOf(inner))
  if (conflictCodes.has(code)) return new StoreConflictError(code)
  if (unavailableCodes.has(code) || code.startsWith('08')) return new StoreUnavailableError(code)
  if (/^E[A-Z]{2,}$/.test(code)) return new StoreUnavailableError(code)
  if (connectionFailures.test(inner.message)) return new StoreUnavailableError('connection')
  if (/^[0-9A-Z]{5}$/.test(code)) {
    const where = constraintOf(inner)
    return new StoreError(`the database refused a statement (${code}${where && ` at ${where}`})`, code)
  }
  return error instanceof DrizzleQueryError ? new StoreError('a statement failed', 'unknown') : error
}

function constraintOf(error: Error): string {
  return 'constraint' in error && typeof error.constraint === 'string' ? error.constraint : ''
}
