import type { Socket } from 'node:net'
import type { ClientConnection } from './client-connection.ts'

/** What a client of HTTP/2 says first (RFC 9113, 3.4); up to its second line, which no request of HTTP/1.1 has. */
const preface = Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n')

export type FirstBytesEvents = {
  now(): number
  /** The connection speaks HTTP/2, or else HTTP/1.1. Nobody listens on the socket any more; `bytes` have come. */
  onKnown(first: FirstBytes, protocol: 'http1' | 'http2', bytes: Buffer): void
  onClosed(first: FirstBytes): void
}

/** A connection without TLS until its first bytes have told which protocol it speaks: `waitMs` at most. */
export class FirstBytes implements ClientConnection {
  readonly socket: Socket
  readonly #events: FirstBytesEvents
  readonly #waitMs: number
  readonly #since: number
  #came: Buffer = Buffer.alloc(0)

  constructor(socket: Socket, waitMs: number, events: FirstBytesEvents) {
    this.socket = socket
    this.#waitMs = waitMs
    this.#events = events
    this.#since = events.now()
    socket.on('data', this.#onData).on('end', this.#onEnd)
    socket.on('error', endsInClose).on('close', this.#onClose)
  }

  tend(now: number): void {
    if (now - this.#since >= this.#waitMs) this.socket.destroy()
  }

  closeQuiet(now: number, quietMs: number, since: number): void {
    if (now - Math.max(this.#since, since) >= quietMs) this.socket.destroy()
  }

  destroy(): void {
    this.socket.destroy()
  }

  readonly #onData = (chunk: Buffer): void => {
    const bytes = this.#came.length === 0 ? chunk : Buffer.concat([this.#came, chunk])
    const compared = Math.min(bytes.length, preface.length)
    if (bytes.compare(preface, 0, compared, 0, compared) !== 0) return this.#known('http1', bytes)
    if (compared === preface.length) return this.#known('http2', bytes)
    this.#came = bytes
  }

  #known(protocol: 'http1' | 'http2', bytes: Buffer): void {
    this.socket.off('data', this.#onData).off('end', this.#onEnd)
    this.socket.off('error', endsInClose).off('close', this.#onClose)
    this.#events.onKnown(this, protocol, bytes)
  }

  /** Some bytes of a preface, or none, and no more will come. */
  readonly #onEnd = (): void => {
    this.socket.destroy()
  }

  readonly #onClose = (): void => {
    this.#events.onClosed(this)
  }
}

function endsInClose(): void {}
