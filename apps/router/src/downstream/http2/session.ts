import {
  constants,
  performServerHandshake,
  type ServerHttp2Session,
  type ServerHttp2Stream,
} from 'node:http2'
import type { Socket } from 'node:net'
import type { Refused } from '../../exchange/request-check.ts'
import type { EdgeLimits } from '../../limits.ts'
import type { ClientConnection } from '../client-connection.ts'
import type { Downstream, Peer } from '../downstream.ts'
import { readHead } from './request-head.ts'
import { Http2Stream, streamWindowBytes } from './stream.ts'

/*
 * One connection of a client that speaks HTTP/2. Every stream is a request of its own.
 *
 * serving    streams come and go. Ends in leaving when the router stops, or 75 s after the last one
 * leaving    GOAWAY is sent, no further stream is taken; ends in closed with the last one
 * closed
 *
 * A client that breaks the protocol or floods it ends in closed at once: nghttp2 and Node count resets, CONTINUATION
 * frames, invalid frames and what waits to be sent; PING and SETTINGS are counted here.
 */

export type SessionEvents = {
  now(): number
  /** `refusal`: it may not be routed. */
  onRequest(request: Downstream, refusal: Refused | undefined): void
  onClosed(session: Http2Session): void
}

const maxStreams = 100
/** PING and SETTINGS frames between two looks, a second apart. */
const maxControlFrames = 200
/** So many streams may be reset at once, and so many in a second from then on (CVE-2023-44487). */
const resetBurst = 200
const resetsPerSecond = 20
/** In MB: what a session may hold before it takes no further stream. */
const maxSessionMegabytes = 32

export class Http2Session implements ClientConnection {
  readonly #peer: Peer
  readonly #events: SessionEvents
  readonly #limits: EdgeLimits
  readonly #session: ServerHttp2Session
  #streams = 0
  #controlFrames = 0
  /** Since when it is quiet. */
  #since: number

  /** Nobody else may listen on the socket; what it has read already is put back by `unshift`. */
  constructor(socket: Socket, peer: Peer, limits: EdgeLimits, events: SessionEvents) {
    this.#peer = peer
    this.#limits = limits
    this.#events = events
    this.#since = events.now()
    const session = performServerHandshake(socket, {
      settings: {
        maxConcurrentStreams: maxStreams,
        maxHeaderListSize: limits.maxHeaderBytes,
        initialWindowSize: streamWindowBytes,
      },
      maxSessionMemory: maxSessionMegabytes,
      streamResetBurst: resetBurst,
      streamResetRate: resetsPerSecond,
      strictSingleValueFields: false,
    })
    this.#session = session
    // A stream that nobody reads yet shall not hold up the others.
    session.setLocalWindowSize(maxStreams * streamWindowBytes)
    session.on('stream', this.#onStream).on('ping', this.#onControl).on('remoteSettings', this.#onControl)
    session.on('error', endsInClose).once('close', () => events.onClosed(this))
    socket.on('end', () => session.destroy())
  }

  tend(now: number): void {
    this.#controlFrames = 0
    if (this.#streams === 0 && now - this.#since >= this.#limits.idleSeconds * 1000) this.#session.close()
  }

  /** Unlike one of HTTP/1.1 it can be told to ask no more, and which request was the last one to be taken. */
  closeQuiet(): void {
    this.#session.close()
  }

  destroy(): void {
    this.#session.destroy()
  }

  readonly #onStream = (
    stream: ServerHttp2Stream,
    _headers: unknown,
    flags: number,
    raw: readonly string[],
  ): void => {
    this.#streams += 1
    stream.once('close', this.#onStreamClosed)
    const { head, refusal } = readHead(raw, this.#limits.maxHeaderBytes)
    const isWhole = (flags & constants.NGHTTP2_FLAG_END_STREAM) !== 0
    this.#events.onRequest(new Http2Stream(stream, head, this.#peer, isWhole), refusal)
  }

  readonly #onStreamClosed = (): void => {
    this.#streams -= 1
    this.#since = this.#events.now()
  }

  readonly #onControl = (): void => {
    this.#controlFrames += 1
    if (this.#controlFrames > maxControlFrames)
      this.#session.destroy(undefined, constants.NGHTTP2_ENHANCE_YOUR_CALM)
  }
}

function endsInClose(): void {}
