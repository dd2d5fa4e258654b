/** A connection of a client, whichever protocol it speaks. Times are in ms on the monotonic clock. */
export type ClientConnection = {
  /** Ends what has taken too long at `now`. Called about once a second. */
  tend(now: number): void
  /**
   * Called again and again once the router stops: ends what has been asked nothing for `quietMs` at `now`, counted from
   * `since` at the earliest, or asks the client to ask no more.
   */
  closeQuiet(now: number, quietMs: number, since: number): void
  destroy(): void
}
