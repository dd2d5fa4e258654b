import { constants, type ServerHttp2Stream } from 'node:http2'
import { headerValue } from '../../exchange/headers.ts'
import type { UpgradeOffer } from '../../exchange/upgrade-offer.ts'
import { isFieldValue, isToken } from '../../field-syntax.ts'
import { toKeep } from '../../read-buffer.ts'
import type { BodySink, Downstream, DownstreamEvents, Peer, RequestHead } from '../downstream.ts'

/** So much of a body is under way or kept while nobody reads it: the window of a stream. */
export const streamWindowBytes = 256 * 1024

/**
 * One request of a client of HTTP/2. The stream ends with its answer: what the client has not sent of the request by
 * then is not wanted.
 */
export class Http2Stream implements Downstream {
  readonly head: RequestHead
  readonly peer: Peer
  readonly maxHeldBytes = streamWindowBytes
  readonly upgrade: UpgradeOffer | undefined = undefined
  readonly #stream: ServerHttp2Stream
  #events: DownstreamEvents | undefined
  #sink: BodySink | undefined
  #isWhole: boolean
  /** Bytes of the body that its length still promises; undefined without a length. */
  #bodyLeft: number | undefined
  /** Nothing of a body follows the head of the answer. */
  #isHeadOnly = false
  /** Bytes of the answer that its length still promises. */
  #answerLeft = Number.POSITIVE_INFINITY
  #trailers: readonly [string, string][] = []
  #isTaken = false

  /** `isWhole`: the request ends with its head. */
  constructor(stream: ServerHttp2Stream, head: RequestHead, peer: Peer, isWhole: boolean) {
    this.#stream = stream
    this.head = head
    this.peer = peer
    this.#isWhole = isWhole
    const length = headerValue(head.rawHeaders, 'content-length')
    this.#bodyLeft = length === undefined ? undefined : Number(length)
    stream.on('error', endsInClose).on('close', this.#onClose)
    stream.on('drain', this.#onDrain).on('wantTrailers', this.#onWantTrailers)
  }

  get isWhole(): boolean {
    return this.#isWhole
  }

  get isGone(): boolean {
    return this.#stream.destroyed
  }

  listen(events: DownstreamEvents): void {
    this.#events = events
  }

  readBody(sink: BodySink): void {
    this.#sink = sink
    if (this.#isWhole) return sink.end()
    if (this.isGone) return sink.broke(clientLeft())
    if (headerValue(this.head.rawHeaders, 'expect') !== undefined)
      this.#stream.additionalHeaders({ ':status': 100 })
    this.#stream.on('data', this.#onData).on('end', this.#onEnd)
  }

  resumeBody(): void {
    if (this.#stream.isPaused()) this.#stream.resume()
  }

  closeAfterwards(): void {}

  writeHead(status: number, _statusText: string, headers: readonly string[]): boolean {
    const fields = [':status', String(status)]
    this.#isHeadOnly = this.head.method === 'HEAD' || status === 204 || status === 205 || status === 304
    for (let i = 0; i + 1 < headers.length; i += 2) {
      const name = (headers[i] ?? '').toLowerCase()
      const value = headers[i + 1] ?? ''
      if (!isToken(name) || !isFieldValue(value)) return false
      if (name === 'content-length') this.#answerLeft = Number(value)
      // An answer of gRPC without messages: callers look for the status in the head only when it ends the stream.
      if (name === 'grpc-status') this.#isHeadOnly = true
      fields.push(name, value)
    }
    if (this.isGone) return true
    this.#stream.respond(fields, { waitForTrailers: !this.#isHeadOnly, endStream: this.#isHeadOnly })
    return true
  }

  write(chunk: Buffer): boolean {
    // Whatever an app says beyond its length is no part of the answer.
    if (this.#isHeadOnly || this.isGone || chunk.length > this.#answerLeft) return true
    this.#answerLeft -= chunk.length
    return this.#stream.write(toKeep(chunk))
  }

  end(trailers: readonly [string, string][]): void {
    if (this.#isHeadOnly) return this.#taken()
    if (this.#answerLeft > 0 && this.#answerLeft !== Number.POSITIVE_INFINITY) return this.reset()
    this.#trailers = trailers
    this.#stream.end()
  }

  reset(): void {
    this.#stream.close(constants.NGHTTP2_INTERNAL_ERROR)
  }

  readonly #onData = (chunk: Buffer): void => {
    if (this.#bodyLeft !== undefined) this.#bodyLeft -= chunk.length
    if (this.#sink?.data(chunk) === false) this.#stream.pause()
  }

  /** Node lets a stream that its client resets end like a whole one, and says only then that it was aborted. */
  readonly #onEnd = (): void => void setImmediate(this.#onSurelyEnd)

  readonly #onSurelyEnd = (): void => {
    if (this.#stream.aborted || this.isGone) return
    if (this.#bodyLeft !== undefined && this.#bodyLeft !== 0) return this.#sink?.broke(clientLeft())
    this.#isWhole = true
    this.#sink?.end()
  }

  readonly #onDrain = (): void => {
    this.#events?.drained()
  }

  /** All of the answer but its trailers is on its way. */
  readonly #onWantTrailers = (): void => {
    const fields: Record<string, string[]> = Object.create(null)
    for (const [name, value] of this.#trailers) {
      const lower = name.toLowerCase()
      if (isToken(lower) && isFieldValue(value)) (fields[lower] ??= []).push(value)
    }
    this.#stream.sendTrailers(fields)
    this.#taken()
  }

  #taken(): void {
    this.#isTaken = true
    this.#events?.taken()
    // Behind the end of the answer: the client need not send the rest.
    if (!this.#isWhole) setImmediate(() => this.#stream.close(constants.NGHTTP2_NO_ERROR))
  }

  readonly #onClose = (): void => {
    if (this.#isTaken) return
    // First, so that nobody takes what follows for the replica's fault.
    this.#events?.gone()
    if (!this.#isWhole) this.#sink?.broke(clientLeft())
  }
}

function clientLeft(): Error {
  return new Error('the client reset the stream')
}

function endsInClose(): void {}
