import type { Socket } from 'node:net'
import type { Readable } from 'node:stream'
import { requestHead } from './request-head.ts'
import type { UpstreamRequest } from './upstream.ts'

/*
 * Writes one request at a time to a connection.
 *
 * idle      nothing to write
 * holding   the head waits for the first bytes of the body, to the end of the tick at most
 * sending   the head is out, the body goes on as fast as the connection takes it
 *
 * holding and sending end in idle: with the last byte, with `stop`, or when the body ends too early.
 */

export type SenderEvents = {
  /** The first bytes are about to leave. */
  written(): void
  /** The body ended early, or is longer than its head says: the request can never be whole. */
  bodyBroke(why: string): void
}

export class RequestSender {
  readonly #socket: Socket
  readonly #events: SenderEvents
  /** The head while it is held back. */
  #head: string | undefined
  #body: Readable | undefined
  /** Bytes that the body still has to have; undefined when it goes in chunks. */
  #left: number | undefined

  constructor(socket: Socket, events: SenderEvents) {
    this.#socket = socket
    this.#events = events
  }

  /** Everything was handed to the socket. */
  get isDone(): boolean {
    return this.#body === undefined
  }

  /** Returns false when the request cannot be written without being taken for something else. */
  send(request: UpstreamRequest): boolean {
    const head = requestHead(request)
    if (!head) return false
    const { body } = request
    if (body === null) {
      this.#events.written()
      this.#socket.write(head.text, 'latin1')
      return true
    }
    this.#head = head.text
    this.#left = head.bodyBytes
    this.#body = body
    if (body.destroyed) this.#broke('the body is gone')
    else {
      body
        .on('data', this.#onData)
        .on('end', this.#onEnd)
        .on('close', this.#onClose)
        .on('error', closeFollows)
      setImmediate(sendHeadAlone, this, body)
    }
    return true
  }

  /** The connection takes more. */
  drained(): void {
    this.#body?.resume()
  }

  /** Sends nothing more, and tells the source of the body that nobody wants it. */
  stop(): void {
    const body = this.#body
    this.#forgetBody()
    body?.destroy()
  }

  /** An app may refuse by the head alone: it does not wait for a body that is slow. */
  sendHeadOf(body: Readable): void {
    if (body === this.#body && this.#head !== undefined) this.#writeHead()
  }

  #writeHead(): void {
    if (this.#head === undefined) return
    const head = this.#head
    this.#head = undefined
    this.#events.written()
    this.#socket.write(head, 'latin1')
  }

  readonly #onData = (chunk: Buffer): void => {
    if (chunk.length === 0) return
    if (this.#left !== undefined) {
      if (chunk.length > this.#left) return this.#broke('the body is longer than its length')
      this.#left -= chunk.length
    }
    if (!this.#writeWithHead(chunk)) this.#body?.pause()
  }

  /** In one go, so that head, size and bytes leave together. */
  #writeWithHead(chunk: Buffer): boolean {
    const socket = this.#socket
    socket.cork()
    this.#writeHead()
    if (this.#left === undefined) socket.write(`${chunk.length.toString(16)}\r\n`, 'latin1')
    let takesMore = socket.write(chunk)
    if (this.#left === undefined) takesMore = socket.write('\r\n', 'latin1')
    socket.uncork()
    return takesMore
  }

  readonly #onEnd = (): void => {
    if (this.#left !== undefined && this.#left > 0) return this.#broke('the body is shorter than its length')
    const socket = this.#socket
    socket.cork()
    this.#writeHead()
    if (this.#left === undefined) socket.write('0\r\n\r\n', 'latin1')
    socket.uncork()
    this.#forgetBody()
  }

  readonly #onClose = (): void => {
    this.#broke('the body ended early')
  }

  #broke(why: string): void {
    this.#forgetBody()
    this.#events.bodyBroke(why)
  }

  #forgetBody(): void {
    this.#body?.off('data', this.#onData).off('end', this.#onEnd).off('close', this.#onClose)
    this.#body = undefined
    this.#head = undefined
  }
}

function closeFollows(): void {}

function sendHeadAlone(sender: RequestSender, body: Readable): void {
  sender.sendHeadOf(body)
}
