import { connect, type ClientHttp2Session, type ClientHttp2Stream } from 'node:http2'
import { connect as connectSocket, type Socket } from 'node:net'
import { isOwnShortage } from '../own-shortage.ts'
import type { UpstreamListener, UpstreamRequest } from '../upstream.ts'
import type { StreamEnd } from './failure.ts'
import { Http2Call, type CallSession } from './call.ts'
import { requestFields } from './head.ts'

/*
 * One connection to a replica that speaks HTTP/2 without TLS, for many calls at a time.
 *
 * open      connecting or connected: takes calls while the replica allows more streams
 * leaving   the replica has said GOAWAY: takes no call, those that it has accepted go on
 * closed    its socket is closed or about to be. Connecting ends here after 2 s, and a minute without a call does
 */

const connectTimeoutMs = 2000
const longestIdleMs = 60_000
const tcpKeepAliveMs = 60_000
/** Until the replica says otherwise; nghttp2 assumes the same. */
const assumedStreams = 100
/** What a stream may have under way. Close by, more does not make it faster. */
const streamWindowBytes = 64 * 1024
/** Whoever does not read holds up its own stream and never the connection. */
const sessionWindowBytes = 2 ** 31 - 1
/** In MB. What may be under way is bounded stream by stream. */
const maxSessionMegabytes = 1024
const maxAnswerHeaderBytes = 32 * 1024

const options = {
  settings: {
    enablePush: false,
    initialWindowSize: streamWindowBytes,
    maxHeaderListSize: maxAnswerHeaderBytes,
  },
  maxSessionMemory: maxSessionMegabytes,
  strictSingleValueFields: false,
}

export type SessionOwner = { onSessionClosed(session: ReplicaSession): void }

export class ReplicaSession implements CallSession {
  /** Its socket is closed. */
  readonly closed: Promise<void>
  readonly #owner: SessionOwner
  readonly #session: ClientHttp2Session
  readonly #calls = new Set<Http2Call>()
  #maxStreams = assumedStreams
  /** The newest stream that the replica has looked at, once it leaves. */
  #lastStream = Number.POSITIVE_INFINITY
  #end: StreamEnd['sessionEnd']

  constructor(place: { address: string; port: number }, owner: SessionOwner) {
    this.#owner = owner
    const socket = connectSocket({
      host: place.address,
      port: place.port,
      noDelay: true,
      keepAlive: true,
      keepAliveInitialDelay: tcpKeepAliveMs,
    })
    this.closed = new Promise((resolve) => {
      socket.once('close', () => resolve())
    })
    this.#session = connect('http://replica', { ...options, createConnection: () => socket })
    this.#watch(this.#session, socket)
  }

  get end(): StreamEnd['sessionEnd'] {
    return this.#end
  }

  get hasRoom(): boolean {
    const isOpen = this.#end === undefined && !this.#session.closed && !this.#session.destroyed
    return isOpen && this.#calls.size < this.#maxStreams
  }

  send(request: UpstreamRequest, listener: UpstreamListener): Http2Call {
    const call = new Http2Call(request, listener, this)
    this.#calls.add(call)
    try {
      call.run(this.#open(request))
    } catch (error) {
      call.fail({ kind: 'protocol', written: false, received: false, message: String(error) })
    }
    return call
  }

  wasPassedOver(streamId: number): boolean {
    return streamId > this.#lastStream
  }

  onCallOver(call: Http2Call): void {
    this.#calls.delete(call)
    if (this.#calls.size === 0 && this.#maxStreams === 0) this.close('the replica takes no streams')
  }

  /** Breaks off what is under way. */
  close(why: string): void {
    this.#ended({ kind: 'died', message: why })
    this.#session.destroy()
  }

  /** Throws when the request cannot be written. */
  #open(request: UpstreamRequest): ClientHttp2Stream {
    return this.#session.request(requestFields(request), { endStream: request.body === null })
  }

  #watch(session: ClientHttp2Session, socket: Socket): void {
    const connecting = setTimeout(() => this.close('no connection within 2 s'), connectTimeoutMs)
    session.once('connect', () => {
      clearTimeout(connecting)
      session.setLocalWindowSize(sessionWindowBytes)
    })
    session.on('remoteSettings', ({ maxConcurrentStreams }) => {
      this.#maxStreams = maxConcurrentStreams ?? Number.POSITIVE_INFINITY
    })
    session.on('goaway', (_code, lastStream) => {
      this.#lastStream = lastStream
    })
    session.setTimeout(longestIdleMs, () => {
      if (this.#calls.size === 0) this.close('idle for too long')
    })
    session.on('error', (error: NodeJS.ErrnoException) => {
      const { message } = error
      if (isOwnShortage(error)) this.#ended({ kind: 'exhausted', message })
      else this.#ended({ kind: error.code === 'ERR_HTTP2_ERROR' ? 'protocol' : 'died', message })
    })
    session.once('close', () => {
      clearTimeout(connecting)
      this.#ended({ kind: 'died', message: 'the replica closed the connection' })
      this.#owner.onSessionClosed(this)
    })
    // A replica that only half closes would keep its streams open for ever.
    socket.once('end', () => this.close('the replica closed the connection'))
  }

  #ended(end: StreamEnd['sessionEnd']): void {
    this.#end ??= end
  }
}
