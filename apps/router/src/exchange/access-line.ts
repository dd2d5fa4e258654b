/**
 * answered: the app's answer went out whole. refused: the router answered itself. broken-off: the answer ended in
 * its middle. timed-out: the same, at the request timeout. client-gone: nobody was there for the (whole) answer.
 */
export type Outcome = 'answered' | 'refused' | 'broken-off' | 'timed-out' | 'client-gone'

/** What is known of a request at its end: one line of the access log. The query is left out, it may be secret. */
export type AccessLine = {
  outcome: Outcome
  requestId: string
  method: string
  host: string
  path: string
  status: number
  /** From the head of the request to the end of the exchange. */
  ms: number
  queuedMs: number
  bytes: number
  retries: number
  project?: string
  service?: string
  revision?: string
  code?: string
}
