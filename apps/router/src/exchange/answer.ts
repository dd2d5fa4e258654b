import { STATUS_CODES, type IncomingMessage, type ServerResponse } from 'node:http'
import type { Socket } from 'node:net'
import { errorCatalogue, problem, problemContentType } from '@berth/contracts'
import type { FailureAnswer } from './failure.ts'

/** A client that goes on sending a body that nobody reads is cut off this long after its answer. */
const unreadBodyMs = 1000
/** As much as is copied into one piece with the head at less cost than a second piece has. */
const maxHeldBytes = 4096
/** What a status line may carry (RFC 9112, 4): anything else would be refused by Node. */
const printableText = /^[\t\x20-\x7e\x80-\xff]*$/

/** The answer to one request, as its client gets it. */
export class Answer {
  readonly #request: IncomingMessage
  readonly #response: ServerResponse
  #bytes = 0
  /** The head was given in this very tick. */
  #isFresh = false
  /** A first piece that came with the head and is small: the end may be there as well, and all goes in one write. */
  #held: Buffer | undefined
  #closes = false

  constructor(request: IncomingMessage, response: ServerResponse) {
    this.#request = request
    this.#response = response
  }

  /** Bytes of the body that were handed on. */
  get bytes(): number {
    return this.#bytes
  }

  /** The connection ends with this answer. */
  get closes(): boolean {
    return this.#closes
  }

  closeAfterwards(): void {
    if (this.#closes) return
    this.#closes = true
    if (!this.#response.headersSent) this.#response.shouldKeepAlive = false
    else this.#response.once('finish', () => this.#request.socket.destroySoon())
  }

  /**
   * Begins an answer of an app, headers flat. Returns false when Node refuses one of them: nothing has been sent
   * then. `onDrain` is called whenever a client that was too slow wants more.
   */
  head(status: number, text: string, headers: string[], onDrain: () => void): boolean {
    const response = this.#response
    try {
      response.writeHead(status, printableText.test(text) ? text : STATUS_CODES[status], headers)
    } catch {
      response.statusMessage = ''
      return false
    }
    response.on('drain', onDrain)
    this.#isFresh = true
    // A head without a body yet (an event stream, say) goes out by itself; else it travels with the first bytes.
    setImmediate(() => {
      this.#isFresh = false
      if (response.writableEnded || response.destroyed) return
      if (this.#bytes === 0) response.flushHeaders()
      else this.#writeHeld()
    })
    return true
  }

  /** Returns false to be given no more until `onDrain`. */
  write(chunk: Buffer): boolean {
    const isFirst = this.#bytes === 0
    this.#bytes += chunk.length
    if (isFirst && this.#isFresh && chunk.length <= maxHeldBytes) {
      this.#held = chunk
      return true
    }
    this.#writeHeld()
    return this.#response.write(chunk)
  }

  /**
   * The app's answer is complete but for its trailers, names and values, which an HTTP/1.0 client or a body with a
   * length cannot have. `onTaken`: the last of it has left for the client.
   */
  end(trailers: [string, string][], onTaken: () => void): void {
    if (trailers.length > 0) this.#response.addTrailers(trailers)
    const request = this.#request
    this.#response.once('finish', () => {
      onTaken()
      // The app answered without reading the body.
      if (!request.complete)
        setTimeout(() => request.complete || request.socket.destroy(), unreadBodyMs).unref()
    })
    if (this.#held) this.#response.end(this.#held.toString('latin1'), 'latin1')
    else this.#response.end()
  }

  /** The whole answer of the router itself, `onTaken` as above; returns its status. */
  refuse(answer: FailureAnswer, requestId: string, onTaken: () => void): number {
    const { code, detail, retryAfterSeconds, location } = answer
    const { status } = errorCatalogue[code]
    const body = JSON.stringify(problem(code, detail, requestId))
    this.#response.writeHead(status, {
      'content-type': problemContentType,
      'content-length': Buffer.byteLength(body),
      'x-request-id': requestId,
      ...(retryAfterSeconds === undefined ? {} : { 'retry-after': String(retryAfterSeconds) }),
      ...(location === undefined ? {} : { location }),
      ...(status === 405 ? { allow: 'GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS' } : {}),
    })
    this.#response.once('finish', onTaken)
    this.#response.end(this.#request.method === 'HEAD' ? undefined : body)
    return status
  }

  #writeHeld(): void {
    const held = this.#held
    this.#held = undefined
    if (held) this.#response.write(held)
  }

  /** Leaves the socket to a tunnel. */
  handOver(socket: Socket): void {
    this.#response.detachSocket(socket)
  }

  /** Never a clean end: a reset, so that no client takes a part for the whole. */
  reset(): void {
    const { socket } = this.#request
    if (socket.destroyed) return
    // Within TLS an end without its closing alert is what cannot be taken for the whole.
    if ('encrypted' in socket) socket.destroy()
    else socket.resetAndDestroy()
  }
}
