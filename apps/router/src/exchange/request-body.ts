import { Readable } from 'node:stream'
import type { BodySink, Downstream } from '../downstream/downstream.ts'

const maxKeptBytes = 64 * 1024

/**
 * The body of a request, handed to one replica after the other. What has been read is kept up to 64 KiB, so that a
 * second attempt can start over; beyond that only the first attempt is possible. Nothing is read before `open`.
 */
export class RequestBody implements BodySink {
  readonly #downstream: Downstream
  #kept: Buffer[] = []
  #keptBytes = 0
  #receivedBytes = 0
  #overflowed = false
  #ended = false
  #maxBytes = Number.POSITIVE_INFINITY
  #onTooLarge: () => void = () => undefined
  #current: Readable | undefined

  constructor(downstream: Downstream) {
    this.#downstream = downstream
  }

  get canRestart(): boolean {
    return !this.#overflowed
  }

  /** What is kept for a second attempt. */
  get keptBytes(): number {
    return this.#overflowed ? 0 : this.#keptBytes
  }

  /** What has come of it so far. */
  get receivedBytes(): number {
    return this.#receivedBytes
  }

  get complete(): boolean {
    return this.#ended
  }

  /** Calls back with the first byte above `maxBytes`, and takes no more. */
  limit(maxBytes: number, onTooLarge: () => void): void {
    this.#maxBytes = maxBytes
    this.#onTooLarge = onTooLarge
  }

  /** A stream of the whole body for one more attempt; the stream before is given up. */
  open(): Readable {
    const first = this.#current === undefined
    this.#current?.destroy()
    const body = new Readable({ read: () => this.#downstream.resumeBody() })
    // Whoever sends it hears of an error too; nobody does once the attempt is over.
    body.on('error', () => undefined)
    this.#current = body
    for (const chunk of this.#kept) body.push(chunk)
    if (this.#ended) body.push(null)
    if (first) this.#downstream.readBody(this)
    return body
  }

  /** Stops reading: nobody wants the rest. */
  abandon(): void {
    this.#current?.destroy()
  }

  data(chunk: Buffer): boolean {
    const wasWithin = this.#receivedBytes <= this.#maxBytes
    this.#receivedBytes += chunk.length
    if (this.#receivedBytes > this.#maxBytes) {
      if (wasWithin) this.#onTooLarge()
      return true
    }
    this.#keep(chunk)
    const body = this.#current
    return body === undefined || body.destroyed || body.push(chunk)
  }

  end(): void {
    this.#ended = true
    if (this.#current && !this.#current.destroyed) this.#current.push(null)
  }

  broke(error: Error): void {
    this.#current?.destroy(error)
  }

  #keep(chunk: Buffer): void {
    if (this.#overflowed) return
    this.#keptBytes += chunk.length
    if (this.#keptBytes <= maxKeptBytes) {
      this.#kept.push(chunk)
      return
    }
    this.#overflowed = true
    this.#kept = []
  }
}
