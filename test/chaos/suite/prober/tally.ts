/** What the prober sends, each kind in a lane of its own. */
export const exchangeKinds = [
  'keep-alive',
  'new connection',
  'post',
  'websocket',
  'event stream',
  'slow request',
] as const
export type ExchangeKind = (typeof exchangeKinds)[number]

/**
 * An exchange that got no answer, or a wrong one. Times are milliseconds since 1970. A message on a WebSocket counts
 * as sent when its connection was opened: what goes wrong on an old connection is no new request.
 */
export type FailedExchange = { kind: ExchangeKind; sentAt: number; failedAt: number; why: string }

/** Everything that ended between two moments; JSON all through, since it travels between processes. */
export type Tally = {
  beganAt: number
  endedAt: number
  sent: number
  failed: number
  kinds: Record<ExchangeKind, { sent: number; failed: number }>
  /** The longest time without any right answer to a short request, in ms. */
  longestGapMs: number
  /** How late the prober itself was at most, in ms: above 100 the figures say more about the machine. */
  longestLagMs: number
  /** The first `keptFailures`. */
  failures: FailedExchange[]
  /** By replica (its host name): when its last right answer was sent for. */
  lastAnswers: Record<string, number>
}
