/** How long the server lets things take, in milliseconds. */
export type SessionBounds = { statementMs: number; lockMs: number; idleInTransactionMs: number }

const connectMs = 2_000
/** Later than the server's own answer about a statement that took too long: for one that does not answer at all. */
const silenceMs = 2_000

/** Options of pg with which no connection and no statement hangs without an end. */
export function sessionBounds({ statementMs, lockMs, idleInTransactionMs }: SessionBounds) {
  return {
    connectionTimeoutMillis: connectMs,
    statement_timeout: statementMs,
    lock_timeout: lockMs,
    idle_in_transaction_session_timeout: idleInTransactionMs,
    query_timeout: statementMs + silenceMs,
    keepAlive: true,
  }
}
