/**
 * answered: the app's answer went out whole. refused: the router answered itself. broken-off: the answer ended in
 * its middle. timed-out: the same, at the request timeout. client-gone: nobody was there for the (whole) answer.
 */
export type Outcome = 'answered' | 'refused' | 'broken-off' | 'timed-out' | 'client-gone'

/** What is known of a request at its end: one line of the access log. The query is left out, it may be secret. */
export type AccessLine = {
  outcome: Outcome
  requestId: string
  /** As it was forwarded; undefined for what never became a request. */
  traceparent?: string | undefined
  protocol?: string | undefined
  method: string
  host: string
  path: string
  status: number
  /** From the head of the request to the end of the exchange. */
  ms: number
  queuedMs: number
  /** Of the last attempt, from the sending to the head of the answer. */
  upstreamHeadMs?: number | undefined
  /** Of the last attempt, from the sending to the last of the answer, whole or not. */
  upstreamMs?: number | undefined
  /** Of the body, to the client. */
  bytes: number
  /** Of the body, from the client. */
  receivedBytes?: number | undefined
  retries: number
  project?: string | undefined
  service?: string | undefined
  revision?: string | undefined
  /** The id of the one that was asked last. */
  replica?: string | undefined
  code?: string | undefined
}
