import type { Socket } from 'node:net'
import type { Refused } from '../../exchange/request-check.ts'
import { UpgradeOffer } from '../../exchange/upgrade-offer.ts'
import type { EdgeLimits } from '../../limits.ts'
import type { ClientConnection } from '../client-connection.ts'
import type { Peer } from '../downstream.ts'
import { asksForWebSocket } from './head-fields.ts'
import {
  closeParser,
  bytesQueued,
  goOn,
  handleOf,
  methodName,
  on,
  openParser,
  switchProtocol,
  type Handle,
  type NodeParser,
  type OnHeadersComplete,
  type ParserError,
} from './node-parser.ts'
import { Http1Request } from './request.ts'
import { bodyTooSlow, endedEarly, headTooSlow, refusalOf } from './unparsed.ts'

/*
 * One connection of a client. Requests are answered one after the other: what is asked ahead waits, parsed, and
 * nothing more is read meanwhile (a client cannot have an app work on more than one request per connection).
 *
 * quiet      no byte of a request has come. Ends in head; closed after 75 s
 * head       the head of a request comes. Ends in request; refused after 10 s
 * request    one is being answered, others may wait. Ends in quiet or with the next request
 * leaving    nothing more is answered; what was answered is on its way to the client
 * tunnel     a WebSocket has the socket
 * closed
 */

/** What a connection needs of the edge. Times are in ms on the monotonic clock. */
export type ConnectionEvents = {
  now(): number
  /** No request may follow the one that is being answered: the router stops. */
  isDraining(): boolean
  /** Whose turn it is; with `refusal` when its body cannot be understood already. */
  onRequest(request: Http1Request, refusal: Refused | undefined): RequestHandler
  /** What came never became a request. The connection ends behind what is written now. */
  onUnparsed(socket: Socket, refusal: Refused): void
  onClosed(connection: Http1Connection): void
}

/** Whoever answers a request. */
export type RequestHandler = {
  /** The rest of the body cannot be understood. */
  clientBroke(refusal: Refused): void
}

/** A client that goes on sending what nobody reads is cut off this long after its answer. */
const unreadBodyMs = 1000
/** Over so long a slow body is judged. */
const bodyLookMs = 10_000
const nothing = Buffer.alloc(0)

export class Http1Connection implements ClientConnection {
  readonly socket: Socket
  readonly peer: Peer
  readonly #events: ConnectionEvents
  readonly #limits: EdgeLimits
  readonly #parser: NodeParser
  /** What the parser reads from by itself; undefined when the socket brings the bytes. */
  #handle: Handle | undefined
  /** The request that is being answered, and by whom. */
  #current: Http1Request | undefined
  #handler: RequestHandler | undefined
  /** Those behind it, oldest first. */
  readonly #waiting: Http1Request[] = []
  /** The newest of all, until the whole of it has come. */
  #coming: Http1Request | undefined
  /** Has been granted to have the rest of the connection for a WebSocket, should a replica agree. */
  #switching: Http1Request | undefined
  /** What is to be said of what cannot be understood. */
  #refusal: Refused | undefined
  /** The newest head would switch: until the next one the parser hides what it cannot read, as if it had stopped. */
  #wantsSwitch = false
  /** It has stopped indeed, behind the whole of a request that would switch. */
  #hasStopped = false
  #isInHead = false
  #isNew = true
  /** What comes is of another protocol, or cannot be understood. */
  #isDeaf = false
  #isLeaving = false
  #isPaused = false
  /** Since when the present part of its life lasts. */
  #since: number
  /** Bytes of a body that its app waits for, since when. */
  #bodyBytes = 0
  #bodySince = 0
  /** What waited to be taken by the client when it was looked at last, and since when that has been the same. */
  #waits = 0
  #queued = 0
  #stalledSince = 0
  #headers: string[] = []
  #url = ''

  constructor(socket: Socket, peer: Peer, limits: EdgeLimits, events: ConnectionEvents) {
    this.socket = socket
    this.peer = peer
    this.#limits = limits
    this.#events = events
    this.#since = events.now()
    const parser = openParser(limits.maxHeaderBytes)
    parser[on.messageBegin] = this.#onMessageBegin
    parser[on.headers] = this.#onHeaders
    parser[on.headersComplete] = this.#onHeadersComplete
    parser[on.body] = this.#onBody
    parser[on.messageComplete] = this.#onMessageComplete
    this.#parser = parser
    this.#handle = handleOf(socket)
    if (this.#handle) {
      parser[on.execute] = this.#onExecute
      parser.consume(this.#handle)
    }
    socket.on('data', this.#onData).on('end', this.#onEnd).on('drain', this.#onDrain)
    socket.on('error', endsInClose).on('close', this.#onClose)
  }

  /** For how long it is kept without a request. */
  get idleSeconds(): number {
    return this.#limits.idleSeconds
  }

  /** Takes what has come before anybody knew the protocol. */
  read(first: Buffer): void {
    this.#onData(first)
  }

  /** Nothing may be asked behind the answer that is about to be given. */
  get mustClose(): boolean {
    return (this.#isDeaf || this.#events.isDraining()) && this.#waiting.length === 0
  }

  /** Reads on, unless what has come is not wanted yet. */
  readOrPause(): void {
    const pause = !this.#isLeaving && (this.#waiting.length > 0 || this.#current?.isFull === true)
    if (pause === this.#isPaused) return
    this.#isPaused = pause
    if (pause) {
      this.#handle?.readStop()
      this.socket.pause()
    } else {
      this.socket.resume()
      if (!this.socket.destroyed) this.#handle?.readStart()
    }
  }

  /** Tells `request` when all of its answer has left, and goes on with the next one. */
  whenTaken(request: Http1Request): void {
    if (this.socket.writableLength === 0) this.#finish(request)
    else this.socket.write(nothing, () => this.#finish(request))
  }

  /** Ends it behind what was written; what the client still sends is read and forgotten for a while. */
  leave(): void {
    if (this.#isLeaving) return
    this.#isLeaving = true
    this.#since = this.#events.now()
    this.#readBySocket()
    this.socket.end()
    this.readOrPause()
  }

  /** A reset, so that no client takes a part for the whole. */
  reset(): void {
    if (this.socket.destroyed) return
    // Within TLS an end without its closing alert is what cannot be taken for the whole.
    if (this.peer.scheme === 'https') this.socket.destroy()
    else this.socket.resetAndDestroy()
  }

  destroy(): void {
    this.socket.destroy()
  }

  tend(now: number): void {
    const elapsed = now - this.#since
    const { headSeconds, idleSeconds } = this.#limits
    if (this.#isLeaving) {
      if (elapsed >= unreadBodyMs) this.socket.destroy()
    } else if (this.#current !== undefined) {
      this.#tendBody(this.#current, now)
      this.#tendAnswer(now)
    } else if (this.#isInHead) {
      if (elapsed >= headSeconds * 1000) this.#unparsed(headTooSlow(headSeconds))
    } else if (this.#coming !== undefined) {
      if (elapsed >= unreadBodyMs) this.socket.destroy()
    } else if (elapsed >= (this.#isNew ? headSeconds : idleSeconds) * 1000) this.socket.destroy()
  }

  /** A body that its app waits for has to come at some pace; once the app answers, it may wait as it likes. */
  #tendBody(request: Http1Request, now: number): void {
    const { minBodyRate } = this.#limits
    const isAwaited = request === this.#coming && request.isAwaited && !this.#isPaused
    if (!isAwaited || this.#bodyBytes >= minBodyRate * (bodyLookMs / 1000)) {
      this.#bodyBytes = 0
      this.#bodySince = now
    } else if (now - this.#bodySince >= bodyLookMs) this.#unparsed(bodyTooSlow(minBodyRate))
  }

  /** An answer that waits to be taken has to move. */
  #tendAnswer(now: number): void {
    const { stallSeconds } = this.#limits
    const waits = this.socket.writableLength
    const queued = waits === 0 ? 0 : bytesQueued(this.socket)
    if (waits === 0 || waits !== this.#waits || queued !== this.#queued) this.#stalledSince = now
    else if (stallSeconds > 0 && now - this.#stalledSince >= stallSeconds * 1000) this.reset()
    this.#waits = waits
    this.#queued = queued
  }

  closeQuiet(now: number, quietMs: number, since: number): void {
    const isQuiet = this.#current === undefined && !this.#isInHead && !this.#isLeaving
    if (isQuiet && now - Math.max(this.#since, since) >= quietMs) this.leave()
  }

  readonly #onData = (chunk: Buffer): void => this.#parse(chunk)

  #parse(chunk: Buffer): void {
    let rest = chunk
    while (rest.length > 0 && !this.#isDeaf && !this.#isLeaving)
      rest = this.#behind(this.#parser.execute(rest), rest)
    this.#beginNext(rest)
    this.readOrPause()
  }

  /** The parser has read from the handle, as far as `read`. */
  readonly #onExecute = (read: number | ParserError): void => {
    if (this.#isLeaving) return
    let rest: Buffer = nothing
    // Seldom, since it is a copy.
    if (typeof read !== 'number' || this.#wantsSwitch)
      rest = this.#behind(read, this.#parser.getCurrentBuffer())
    this.#parse(rest)
  }

  /** What of `chunk` comes behind `read`: behind a wish to switch that is not granted, the next request. */
  #behind(read: number | ParserError, chunk: Buffer): Buffer {
    const hasStopped = this.#hasStopped
    this.#hasStopped = false
    if (typeof read === 'number' && (hasStopped || read === chunk.length)) return chunk.subarray(read)
    if (!this.#isDeaf)
      this.#unparsed(typeof read === 'number' ? endedEarly : refusalOf(read, chunk, this.#limits))
    return nothing
  }

  /** From here on the socket brings the bytes. */
  #readBySocket(): void {
    if (this.#handle === undefined) return
    this.#handle = undefined
    this.#parser.unconsume()
  }

  readonly #onMessageBegin = (): void => {
    this.#isInHead = true
    this.#isNew = false
    if (this.#current === undefined) this.#since = this.#events.now()
  }

  readonly #onHeaders = (headers: string[], url: string): void => {
    // Trailers of a request go no further.
    if (!this.#isInHead) return
    this.#headers.push(...headers)
    this.#url += url
  }

  readonly #onHeadersComplete: OnHeadersComplete = (
    major,
    minor,
    headers,
    methodNumber,
    url,
    _code,
    _text,
    wantsSwitch,
    keepsConnection,
  ) => {
    const method = methodName(methodNumber) ?? ''
    const rawHeaders = headers ?? this.#headers
    // A request line that says HTTP/2.0 is none of HTTP/2, which is told from its preface.
    const httpVersion = major === 1 ? `1.${minor}` : 'unknown'
    const head = { method, url: url ?? this.#url, httpVersion, rawHeaders }
    this.#isInHead = false
    if (headers === undefined) this.#headers = []
    this.#url = ''
    const request = new Http1Request(this, head, keepsConnection)
    this.#coming = request
    const isAlone = this.#current === undefined && this.#waiting.length === 0
    this.#waiting.push(request)
    this.#wantsSwitch = wantsSwitch
    if (!wantsSwitch) return goOn
    if (isAlone && asksForWebSocket(head)) this.#switching = request
    else if (method !== 'CONNECT') return goOn
    this.#isDeaf = true
    return switchProtocol
  }

  readonly #onBody = (chunk: Buffer): void => {
    this.#bodyBytes += chunk.length
    this.#coming?.bodyCame(chunk)
  }

  readonly #onMessageComplete = (): void => {
    const request = this.#coming
    this.#coming = undefined
    this.#hasStopped = this.#wantsSwitch
    request?.bodyEnded()
    // The answer was given without all of the body: only now is the connection quiet.
    if (this.#current === undefined) this.#since = this.#events.now()
  }

  readonly #onEnd = (): void => {
    if (this.#isLeaving || this.#current !== undefined || this.#waiting.length > 0) this.socket.destroy()
    else if (this.#isInHead) this.#unparsed(endedEarly)
    else this.socket.destroySoon()
  }

  readonly #onDrain = (): void => {
    this.#current?.drained()
  }

  readonly #onClose = (): void => {
    const current = this.#current
    this.#current = undefined
    this.#waiting.length = 0
    // The parser may be what calls just now.
    setImmediate(closeParser, this.#parser)
    this.#events.onClosed(this)
    current?.gone()
  }

  /** The next one in the row gets its turn. `rest` is what came behind a request that switches. */
  #beginNext(rest: Buffer): void {
    if (this.#current !== undefined || this.#isLeaving || this.socket.destroyed) return
    const request = this.#waiting.shift()
    if (request === undefined) return
    this.#current = request
    this.#bodyBytes = 0
    this.#bodySince = this.#events.now()
    if (request === this.#switching) request.upgrade = this.#offerSocket(rest)
    const handler = this.#events.onRequest(request, request === this.#coming ? this.#refusal : undefined)
    // Unless it has been answered by now.
    if (request === this.#current) this.#handler = handler
  }

  #offerSocket(rest: Buffer): UpgradeOffer {
    this.#readBySocket()
    this.socket.off('data', this.#onData).off('end', this.#onEnd)
    return new UpgradeOffer(this.socket, rest)
  }

  #finish(request: Http1Request): void {
    if (request !== this.#current) return
    this.#current = undefined
    this.#handler = undefined
    request.taken()
    this.#since = this.#events.now()
    if (request.closes || (this.#isDeaf && this.#waiting.length === 0)) return this.leave()
    if (!request.isWhole) request.dropBody()
    // Not from here: a row of refused requests would go as deep as it is long.
    if (this.#waiting.length > 0) setImmediate(this.#goOn)
    else if (this.#isPaused) this.readOrPause()
  }

  readonly #goOn = (): void => {
    this.#beginNext(nothing)
    this.readOrPause()
  }

  /** What came cannot be understood: the newest request hears of it if it is its body, else the client. */
  #unparsed(refusal: Refused): void {
    this.#isDeaf = true
    this.#refusal = refusal
    this.#isInHead = false
    const coming = this.#coming
    if (coming !== undefined && coming === this.#current) {
      this.#handler?.clientBroke(refusal)
      coming.bodyBroke()
    } else if (this.#current === undefined && this.#waiting.length === 0) {
      // The rest of a body that nobody wants needs no answer.
      if (coming === undefined) this.#events.onUnparsed(this.socket, refusal)
      this.leave()
    }
  }
}

function endsInClose(): void {}
