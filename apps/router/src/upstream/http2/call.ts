import { constants, type ClientHttp2Stream } from 'node:http2'
import type { Readable } from 'node:stream'
import { headerValue } from '../../exchange/headers.ts'
import type { UpstreamCall, UpstreamFailure, UpstreamListener, UpstreamRequest } from '../upstream.ts'
import { streamFailure, type StreamEnd } from './failure.ts'
import { byteLength, plainFields } from './head.ts'

/*
 * One request at a replica on a stream of its own.
 *
 * waiting   no stream yet: the connection is being made
 * sending   the stream is open, no head of an answer yet
 * answering the head has come
 * over      the listener has heard the last word; what is left of the stream is reset
 */

const maxAnswerHeaderBytes = 32 * 1024
const maxInformationalHeads = 16

/** What the call needs to know of its connection. */
export type CallSession = {
  wasPassedOver(streamId: number): boolean
  readonly end: StreamEnd['sessionEnd']
  onCallOver(call: Http2Call): void
}

export class Http2Call implements UpstreamCall {
  readonly request: UpstreamRequest
  readonly #listener: UpstreamListener
  readonly #session: CallSession
  #stream: ClientHttp2Stream | undefined
  #body: Readable | undefined
  #informational = 0
  #received = false
  /** Bytes of the answer that its length still promises. */
  #left: number | undefined
  #trailers: string[] = []
  /** The replica has said that nothing more comes. */
  #isWhole = false
  #isOver = false

  constructor(request: UpstreamRequest, listener: UpstreamListener, session: CallSession) {
    this.request = request
    this.#listener = listener
    this.#session = session
  }

  /** Sends the body, and listens for the answer. */
  run(stream: ClientHttp2Stream): void {
    this.#stream = stream
    this.#watchEnd(stream)
    stream.on('headers', this.#onInformational).on('response', this.#onResponse)
    stream.on('data', this.#onData).on('trailers', this.#onTrailers).on('end', this.#onEnd)
    stream.on('error', endsInClose).on('close', this.#onClose)
    const { body } = this.request
    if (body === null) return
    this.#body = body
    stream.on('drain', () => body.resume())
    body.on('data', this.#onBodyData).on('end', this.#onBodyEnd)
    body.on('error', endsInClose).on('close', this.#onBodyClose)
    if (body.destroyed) this.#onBodyClose()
  }

  resume(): void {
    this.#stream?.resume()
  }

  abort(): void {
    this.#finish(constants.NGHTTP2_CANCEL)
  }

  breakOff(why: string): void {
    const received = this.#received
    const written = this.#stream?.id !== undefined
    if (this.#finish(constants.NGHTTP2_CANCEL))
      this.#listener.failed({ kind: 'died', written, received, message: why })
  }

  /** Without a stream, or without an end of the answer on it. */
  fail(failure: UpstreamFailure): void {
    if (this.#finish(constants.NGHTTP2_CANCEL)) this.#listener.failed(failure)
  }

  readonly #onInformational = (): void => {
    this.#received = true
    this.#informational += 1
    if (this.#informational > maxInformationalHeads) this.#broken('too many informational answers')
  }

  readonly #onResponse = (
    headers: { ':status'?: number },
    _flags: number,
    raw: readonly string[] = [],
  ): void => {
    if (this.#isOver) return
    this.#received = true
    if (byteLength(raw) > maxAnswerHeaderBytes) return this.#broken('the head is too large')
    const status = headers[':status'] ?? 0
    const fields = plainFields(raw)
    const length = headerValue(fields, 'content-length')
    const hasBody = this.request.method !== 'HEAD' && status !== 204 && status !== 304
    if (length !== undefined && hasBody) this.#left = Number(length)
    this.#listener.head(status, '', fields)
  }

  readonly #onData = (chunk: Buffer): void => {
    if (this.#isOver) return
    if (this.#left !== undefined) this.#left -= chunk.length
    if (!this.#listener.data(chunk)) this.#stream?.pause()
  }

  readonly #onTrailers = (_headers: unknown, _flags: number, raw: readonly string[] = []): void => {
    if (byteLength(raw) <= maxAnswerHeaderBytes) this.#trailers = plainFields(raw)
    else this.#broken('the trailers are too large')
  }

  readonly #onEnd = (): void => {
    if (!this.#isWhole) return
    if (this.#left !== undefined && this.#left !== 0)
      return this.#broken('the body is shorter than its length')
    if (!this.#received) return
    // An app may answer without all of the request.
    if (this.#finish(constants.NGHTTP2_NO_ERROR)) this.#listener.end(this.#trailers)
  }

  readonly #onClose = (): void => {
    if (this.#isOver) return
    const { id, rstCode } = this.#stream ?? {}
    this.fail(
      streamFailure({
        wasSent: id !== undefined,
        received: this.#received,
        code: rstCode ?? 0,
        wasPassedOver: id !== undefined && this.#session.wasPassedOver(id),
        sessionEnd: this.#session.end,
      }),
    )
  }

  readonly #onBodyData = (chunk: Buffer): void => {
    if (this.#stream?.write(chunk) === false) this.#body?.pause()
  }

  readonly #onBodyEnd = (): void => {
    this.#body = undefined
    this.#stream?.end()
  }

  readonly #onBodyClose = (): void => {
    if (this.#body !== undefined) this.breakOff('the body ended early')
  }

  /**
   * node:http2 ends a stream that the replica has reset without an error as if it were whole. Only the order tells:
   * END_STREAM ends the readable side before the stream counts as closed, a reset does so afterwards.
   */
  #watchEnd(stream: ClientHttp2Stream): void {
    const push = stream.push.bind(stream)
    stream.push = (chunk: unknown, encoding?: BufferEncoding) => {
      if (chunk === null && !stream.closed) this.#isWhole = true
      return push(chunk, encoding)
    }
  }

  #broken(message: string): void {
    this.fail({ kind: 'protocol', written: true, received: true, message })
  }

  /** Returns false when it was over already. */
  #finish(code: number): boolean {
    if (this.#isOver) return false
    this.#isOver = true
    const body = this.#body
    this.#body = undefined
    body?.off('data', this.#onBodyData).off('end', this.#onBodyEnd)
    body?.destroy()
    // Closing with a code would end the body before the reset, as if it were whole; an error only resets.
    if (body) this.#stream?.destroy(new Error('the request is broken off'))
    // Behind a whole request and a whole answer there is nothing to reset.
    else if (code !== constants.NGHTTP2_NO_ERROR) this.#stream?.close(code)
    this.#session.onCallOver(this)
    return true
  }
}

function endsInClose(): void {}
