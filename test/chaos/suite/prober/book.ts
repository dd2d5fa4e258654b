import { type ExchangeKind, exchangeKinds, type FailedExchange, type Tally } from './tally.ts'

const keptFailures = 5000

/** One exchange under way; the first word on it counts. */
export type Entry = {
  /** `replica` is the host name of whoever answered. */
  succeed(replica?: string): void
  fail(why: string): void
  /** Neither right nor wrong: it could not be known any more whether it was answered. */
  drop(): void
}

/** Short requests: their answers tell how long nobody answered. */
const short: ReadonlySet<ExchangeKind> = new Set(['keep-alive', 'new connection', 'post'])

/**
 * Where the lanes write down what became of each exchange. An exchange belongs to the tally in which it ends, so
 * that `sent` counts what has an outcome and nothing is counted twice.
 */
export class Book {
  readonly #now: () => number
  readonly #open = new Set<Promise<void>>()
  #tally: Tally
  #answeredAt: number

  /** `now` tells milliseconds since 1970. */
  constructor(now: () => number) {
    this.#now = now
    this.#tally = emptyTally(now())
    this.#answeredAt = now()
  }

  get underWay(): number {
    return this.#open.size
  }

  /** Opens an entry for something that is sent now, on a connection that is as old as `openedAt`. */
  enter(kind: ExchangeKind, openedAt?: number): Entry {
    const sentAt = openedAt ?? this.#now()
    const { promise, resolve } = Promise.withResolvers<void>()
    this.#open.add(promise)
    let over = false
    const end = (outcome: () => void) => {
      if (over) return
      over = true
      this.#open.delete(promise)
      outcome()
      resolve()
    }
    const close = (outcome: () => void) =>
      end(() => {
        this.#tally.sent += 1
        this.#tally.kinds[kind].sent += 1
        outcome()
      })
    return {
      succeed: (replica) =>
        close(() => {
          if (short.has(kind)) this.#noteAnswer()
          if (replica !== undefined)
            this.#tally.lastAnswers[replica] = Math.max(this.#tally.lastAnswers[replica] ?? 0, sentAt)
        }),
      fail: (why) => close(() => this.#noteFailure({ kind, sentAt, failedAt: this.#now(), why })),
      drop: () => end(() => undefined),
    }
  }

  /** The lane of short requests was this late. */
  lag(ms: number): void {
    this.#tally.longestLagMs = Math.max(this.#tally.longestLagMs, ms)
  }

  /** The tally so far, which goes on. */
  peek(): Tally {
    this.#noteGap()
    return { ...this.#tally, endedAt: this.#now() }
  }

  /** Resolves once everything has ended that is under way now. */
  async settle(): Promise<void> {
    await Promise.all(this.#open)
  }

  /** Begins a new tally and returns the old one. */
  turn(): Tally {
    const tally = this.peek()
    this.#tally = emptyTally(this.#now())
    this.#answeredAt = this.#now()
    return tally
  }

  #noteAnswer(): void {
    this.#noteGap()
    this.#answeredAt = this.#now()
  }

  #noteGap(): void {
    this.#tally.longestGapMs = Math.max(this.#tally.longestGapMs, this.#now() - this.#answeredAt)
  }

  #noteFailure(failure: FailedExchange): void {
    this.#tally.failed += 1
    this.#tally.kinds[failure.kind].failed += 1
    if (this.#tally.failures.length < keptFailures) this.#tally.failures.push(failure)
  }
}

function emptyTally(now: number): Tally {
  const kinds = Object.fromEntries(exchangeKinds.map((kind) => [kind, { sent: 0, failed: 0 }]))
  return {
    beganAt: now,
    endedAt: now,
    sent: 0,
    failed: 0,
    kinds: kinds as Tally['kinds'],
    longestGapMs: 0,
    longestLagMs: 0,
    failures: [],
    lastAnswers: {},
  }
}
