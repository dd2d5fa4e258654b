/** So few waiters are always let in: how fast they move says little about when each of them is served. */
const smallQueue = 16
/** How much the newest interval counts. */
const weight = 0.1
/** A queue that stands for so long is no burst: more of it would serve nobody better, and everybody later. */
const burstMs = 10_000
const standingWaitMs = 1000
/** The pace is a guess: whoever is let in shall not be refused at the end of the wait after all. */
const margin = 0.9

/**
 * How fast a queue moves, so that a request is told at once that its wait would be in vain, instead of at its deadline
 * (after CoDel's distinction between a burst and a queue that stands).
 */
export class QueuePace {
  #intervalMs: number | undefined
  #grantedAt: number | undefined
  #standsSince = 0

  /** Somebody waits again. */
  began(now: number): void {
    this.#standsSince = now
    this.#grantedAt = undefined
  }

  /** The oldest waiter got its slot. */
  granted(now: number): void {
    if (this.#grantedAt !== undefined) {
      const interval = now - this.#grantedAt
      this.#intervalMs ??= interval
      this.#intervalMs += weight * (interval - this.#intervalMs)
    }
    this.#grantedAt = now
  }

  /** Behind `size` others the wait would be longer than `deadlineMs`, or than a second once the queue stands. */
  isInVain(size: number, deadlineMs: number, now: number): boolean {
    if (size < smallQueue || this.#intervalMs === undefined) return false
    const longest = now - this.#standsSince > burstMs ? Math.min(deadlineMs, standingWaitMs) : deadlineMs
    return size * this.#intervalMs > longest * margin
  }
}
