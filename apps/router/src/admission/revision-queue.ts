import type { Claim } from './replica.ts'

/** Why a waiting request gets no slot. */
export type Refusal =
  | { kind: 'queue-full'; atMaxScale: boolean }
  | { kind: 'queue-deadline'; atMaxScale: boolean; because?: string | undefined }
  | { kind: 'blocked'; reason: string; message: string }
  | { kind: 'withdrawn' }

/** A request that waits. Exactly one of `grant` and `refuse` is called, unless the wait is cancelled. */
export type Waiter = {
  /** What the request holds in memory. */
  bytes: number
  deadlineMs: number
  grant(claim: Claim): void
  refuse(refusal: Refusal): void
}

const maxQueuedBytes = 64 * 1024 * 1024

type Place = { waiter: Waiter; timer: NodeJS.Timeout }

/** First in, first out, at most `limit` requests and 64 MiB. A Set keeps the order and forgets in one step. */
export class RevisionQueue {
  readonly #limit: number
  readonly #places = new Set<Place>()
  #bytes = 0

  constructor(limit: number) {
    this.#limit = limit
  }

  get size(): number {
    return this.#places.size
  }

  get bytes(): number {
    return this.#bytes
  }

  hasRoomFor(waiter: Waiter): boolean {
    return this.#places.size < this.#limit && this.#bytes + waiter.bytes <= maxQueuedBytes
  }

  /** Returns how to leave the queue early. `onDeadline` is called after the waiter has been taken out. */
  push(waiter: Waiter, onDeadline: (waiter: Waiter) => void): () => boolean {
    const place: Place = {
      waiter,
      timer: setTimeout(() => {
        if (this.#remove(place)) onDeadline(waiter)
      }, waiter.deadlineMs),
    }
    this.#places.add(place)
    this.#bytes += waiter.bytes
    return () => this.#remove(place)
  }

  shift(): Waiter | undefined {
    for (const place of this.#places) {
      this.#remove(place)
      return place.waiter
    }
    return undefined
  }

  #remove(place: Place): boolean {
    clearTimeout(place.timer)
    if (!this.#places.delete(place)) return false
    this.#bytes -= place.waiter.bytes
    return true
  }
}
