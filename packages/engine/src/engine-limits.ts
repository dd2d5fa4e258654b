/** Deadlines of the calls, in milliseconds (design section 7). */
export type EngineLimits = {
  /** Until a connection is there, with TLS; see `limitConnecting`. */
  connectMs: number
  pingMs: number
  /** Questions: list, inspect, info. */
  readMs: number
  /** Creating and starting containers and networks. */
  createMs: number
  /** Pause, unpause, kill and rename. */
  changeMs: number
  removeMs: number
  /** What `stop` may take beyond its grace. */
  stopMarginMs: number
  /** Pulls, loads, builds and saves: standing still, not the whole. */
  stallMs: number
}

export const engineLimits: EngineLimits = {
  connectMs: 900,
  pingMs: 2_000,
  readMs: 5_000,
  createMs: 30_000,
  changeMs: 10_000,
  removeMs: 30_000,
  stopMarginMs: 5_000,
  stallMs: 60_000,
}
