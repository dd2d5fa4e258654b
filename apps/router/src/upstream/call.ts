import type { Socket } from 'node:net'
import type { UpstreamCall, UpstreamFailure, UpstreamListener, UpstreamRequest } from './upstream.ts'

/** Who has a call under way: the pool while it waits for a connection, then its connection. */
export type CallHolder = {
  resume(): void
  /** Takes the call back, and with it the connection. The call is over for the holder. */
  drop(call: Call): void
}

/**
 * One request at a replica, from `send` to its last word. Whoever holds it reports through it, so that nothing is said
 * after the end and nothing reaches a connection that has gone on to another call.
 */
export class Call implements UpstreamCall {
  readonly request: UpstreamRequest
  /** To be told while the answer comes. */
  readonly listener: UpstreamListener
  #holder: CallHolder | undefined
  written = false
  received = false

  constructor(request: UpstreamRequest, listener: UpstreamListener) {
    this.request = request
    this.listener = listener
  }

  heldBy(holder: CallHolder): void {
    this.#holder = holder
  }

  resume(): void {
    this.#holder?.resume()
  }

  abort(): void {
    const holder = this.#holder
    this.#holder = undefined
    holder?.drop(this)
  }

  breakOff(why: string): void {
    const holder = this.#holder
    if (!holder) return
    holder.drop(this)
    this.fail('died', why)
  }

  /** The holder is done with it. */
  end(trailers: string[]): void {
    this.#holder = undefined
    this.listener.end(trailers)
  }

  /** The replica has switched; the socket is the listener's. */
  upgrade(headers: string[], socket: Socket): void {
    this.#holder = undefined
    this.listener.upgraded(headers, socket)
  }

  fail(kind: UpstreamFailure['kind'], message: string): void {
    this.#holder = undefined
    const { written, received } = this
    this.listener.failed({ kind, written, received, message })
  }
}
