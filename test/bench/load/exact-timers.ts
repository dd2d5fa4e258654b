/**
 * Does work at its time to some 10 us, where Node's own timers have a grain of 1 ms: as long as anything is due it
 * turns the event loop without a rest, which takes a whole processor.
 */
export class ExactTimers {
  /** In the order of their times. */
  readonly #due: { at: number; work: () => void }[] = []
  #turning = false

  /** Does `work` at `at` on the clock of `performance.now()`, or right away when that is past. */
  at(at: number, work: () => void): void {
    const later = this.#due.findIndex((due) => due.at > at)
    this.#due.splice(later < 0 ? this.#due.length : later, 0, { at, work })
    if (this.#turning) return
    this.#turning = true
    setImmediate(this.#turn)
  }

  readonly #turn = (): void => {
    const now = performance.now()
    for (let next = this.#due[0]; next && next.at <= now; next = this.#due[0]) {
      this.#due.shift()
      next.work()
    }
    this.#turning = this.#due.length > 0
    if (this.#turning) setImmediate(this.#turn)
  }
}
