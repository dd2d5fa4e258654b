/** What is probed and how hard; travels to the prober's process as JSON. */
export type Target = {
  /** The edge on 127.0.0.1. */
  port: number
  /** The Host header that leads to the service. */
  host: string
  service: string
  /** Short requests per second, whatever becomes of them. */
  perSecond: number
  /** How long the app takes for the one slow request at a time. */
  slowMs: number
  /** Events of one stream; they come every 100 ms. */
  events: number
}

/** A short request must be answered by then. */
export const shortTimeoutMs = 10_000
/** What takes long by itself may take this much longer. */
export const slackMs = 15_000
