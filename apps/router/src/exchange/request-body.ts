import type { IncomingMessage } from 'node:http'
import { Readable } from 'node:stream'

const maxKeptBytes = 64 * 1024

/**
 * The body of a request, handed to one replica after the other. What has been read is kept up to 64 KiB, so that a
 * second attempt can start over; beyond that only the first attempt is possible. Nothing is read before `open`.
 */
export class RequestBody {
  readonly #message: IncomingMessage
  readonly #onFirstRead: () => void
  #kept: Buffer[] = []
  #keptBytes = 0
  #overflowed = false
  #ended = false
  #current: Readable | undefined

  /** `onFirstRead` is called when a replica wants the body: time for `100 Continue`. */
  constructor(message: IncomingMessage, onFirstRead: () => void) {
    this.#message = message
    this.#onFirstRead = onFirstRead
  }

  get canRestart(): boolean {
    return !this.#overflowed
  }

  /** What is kept for a second attempt. */
  get keptBytes(): number {
    return this.#overflowed ? 0 : this.#keptBytes
  }

  get complete(): boolean {
    return this.#ended
  }

  /** A stream of the whole body for one more attempt; the stream before is given up. */
  open(): Readable {
    const first = this.#current === undefined
    this.#current?.destroy()
    const body = new Readable({ read: () => void this.#message.resume() })
    // Whoever sends it hears of an error too; nobody does once the attempt is over.
    body.on('error', () => undefined)
    this.#current = body
    for (const chunk of this.#kept) body.push(chunk)
    if (this.#ended) body.push(null)
    if (first) this.#listen()
    return body
  }

  /** Stops reading: nobody wants the rest. */
  abandon(): void {
    this.#current?.destroy()
  }

  #listen(): void {
    this.#onFirstRead()
    this.#message.on('data', (chunk: Buffer) => {
      this.#keep(chunk)
      const body = this.#current
      if (body && !body.destroyed && !body.push(chunk)) this.#message.pause()
    })
    this.#message.once('end', () => {
      this.#ended = true
      if (this.#current && !this.#current.destroyed) this.#current.push(null)
    })
    this.#message.once('error', (error) => this.#current?.destroy(error))
    this.#message.once('close', () => {
      if (!this.#ended) this.#current?.destroy(new Error('the client closed the connection'))
    })
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
