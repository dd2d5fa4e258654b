import { connect, type Socket } from 'node:net'
import type { Call, CallHolder } from './call.ts'
import { ReadBuffer } from '../read-buffer.ts'
import { isOwnShortage } from './own-shortage.ts'
import { mayLeaveBodyUnread } from './request-head.ts'
import { RequestSender, type SenderEvents } from './request-sender.ts'
import type { ResponseHead } from './response-head.ts'
import { ResponseParser, type ResponseEvents } from './response-parser.ts'
import type { UpstreamFailure } from './upstream.ts'

/*
 * One connection to a replica, for one call at a time.
 *
 * connecting  made for a call, of which nothing has left. Ends in busy, or after 2 s in closed
 * busy        a call is under way. Ends in idle when request and answer are complete and leave no doubt where they
 *             end; in tunnel when the protocol was switched; in closed for everything else
 * idle        waits in the pool. Ends in busy with the next call; in closed after 4 s, or with the first byte that
 *             comes, which is nobody's answer
 * tunnel      the socket is somebody else's, and ends in closed with it
 * closed      counts no more; its socket is closed or about to be
 */
type State = 'connecting' | 'busy' | 'idle' | 'tunnel' | 'closed'

const connectTimeoutMs = 2000
/** Below the 5 s after which a Node app closes an idle connection, so that we are first to close it. */
const longestIdleMs = 4000
/** A replica that says for how long it keeps a connection finds it closed this long before. */
const keepAliveMarginMs = 1000
const tcpKeepAliveMs = 60_000

/** The pool, as its connections see it. */
export type ConnectionOwner = {
  /** Waits for its next call, which may be given to it at once. */
  onIdle(connection: Connection): void
  /** Counts no more. */
  onClosed(connection: Connection): void
  /** Its descriptor is given back. */
  onSocketClosed(): void
}

export class Connection implements CallHolder, ResponseEvents, SenderEvents {
  readonly #owner: ConnectionOwner
  readonly #socket: Socket
  readonly #parser = new ResponseParser(this)
  readonly #sender: RequestSender
  #state: State = 'connecting'
  #call: Call | undefined
  #head: ResponseHead | undefined
  #paused = false
  readonly #buffer = new ReadBuffer()
  /** How much came with the last read. */
  #lastRead = 0
  /** When it is to leave the state connecting or idle at the latest, on the monotonic clock. */
  #deadline = performance.now() + connectTimeoutMs

  /** Connects for `call` and runs it. Throws when the port is none. */
  constructor(place: { address: string; port: number }, owner: ConnectionOwner, call: Call) {
    const socket = connect({
      host: place.address,
      port: place.port,
      noDelay: true,
      keepAlive: true,
      keepAliveInitialDelay: tcpKeepAliveMs,
      onread: {
        // The types know of one buffer only; a function that names the next one is as public.
        buffer: this.#nextBuffer as unknown as Uint8Array,
        callback: this.#onRead,
      },
    })
    this.#owner = owner
    this.#socket = socket
    this.#sender = new RequestSender(socket, this)
    this.#call = call
    call.heldBy(this)
    socket.on('connect', this.#onConnect).on('drain', this.#onDrain)
    socket.on('end', this.#onEnd).on('error', this.#onError).on('close', this.#onClose)
  }

  /** Sends a call on the idle connection. */
  run(call: Call): void {
    this.#call = call
    call.heldBy(this)
    this.#begin(call)
  }

  /** Has been idle, or connecting, for too long at `now`. */
  isOverdue(now: number): boolean {
    return (this.#state === 'idle' || this.#state === 'connecting') && now >= this.#deadline
  }

  /** Ends it, and fails the call that is under way. */
  close(why: string): void {
    if (this.#state === 'closed') return
    const kind = this.#state === 'connecting' ? 'connect' : 'died'
    const call = this.#call
    this.#end()
    call?.fail(kind, why)
  }

  resume(): void {
    if (!this.#paused) return
    this.#paused = false
    this.#socket.resume()
  }

  drop(): void {
    this.#end()
  }

  written(): void {
    if (this.#call) this.#call.written = true
  }

  bodyBroke(why: string): void {
    this.close(why)
  }

  head(head: ResponseHead): void {
    this.#head = head
    this.#call?.listener.head(head.status, head.statusText, head.headers)
  }

  data(chunk: Buffer): void {
    const call = this.#call
    if (!call || call.listener.data(chunk) || call !== this.#call) return
    this.#paused = true
    this.#socket.pause()
  }

  complete(trailers: string[], isLast: boolean): void {
    const call = this.#call
    const head = this.#head
    if (!call || !head) return
    const mayGoOn =
      !isLast && head.keepsConnection && this.#sender.isDone && !mayLeaveBodyUnread(call.request)
    const idleMs = Math.min(longestIdleMs, (head.keepsForSeconds ?? Infinity) * 1000 - keepAliveMarginMs)
    // First, so that the next call finds it, or the place that it has left.
    if (mayGoOn && idleMs > 0) this.#rest(idleMs)
    else this.#end()
    call.end(trailers)
  }

  switched(head: ResponseHead, rest: Buffer): void {
    const call = this.#call
    this.#call = undefined
    this.#state = 'tunnel'
    const socket = this.#socket.pause()
    socket.off('drain', this.#onDrain).off('end', this.#onEnd)
    if (rest.length > 0) socket.unshift(Buffer.from(rest))
    call?.upgrade(head.headers, socket)
  }

  broken(why: string): void {
    this.#fail('protocol', why)
  }

  readonly #onConnect = (): void => {
    if (this.#call) this.#begin(this.#call)
  }

  readonly #nextBuffer = (): Buffer => this.#buffer.next(this.#lastRead)

  /** Returns false to read no more for now. */
  readonly #onRead = (bytes: number, buffer: Uint8Array): boolean => {
    this.#lastRead = bytes
    const chunk = buffer.subarray(0, bytes) as Buffer
    // Now it is a stream like any other.
    if (this.#state === 'tunnel') return this.#socket.push(Buffer.from(chunk))
    this.#buffer.read(chunk, this.#onData)
    return !this.#paused
  }

  readonly #onData = (chunk: Buffer): void => {
    const call = this.#call
    // Before a byte of the request has left it cannot be an answer to it.
    if (!call?.written) return this.close('the replica spoke unasked')
    call.received = true
    this.#parser.read(chunk)
  }

  readonly #onDrain = (): void => {
    this.#sender.drained()
  }

  readonly #onEnd = (): void => {
    if (!this.#parser.ended()) this.close('the replica closed the connection')
  }

  readonly #onError = (error: NodeJS.ErrnoException): void => {
    const connects = this.#state === 'connecting'
    if (connects && isOwnShortage(error)) this.#fail('exhausted', error.message)
    else if (this.#state !== 'tunnel') this.close(error.message)
  }

  readonly #onClose = (): void => {
    this.close('the connection was closed')
    this.#owner.onSocketClosed()
  }

  #begin(call: Call): void {
    this.#state = 'busy'
    this.#head = undefined
    const { request } = call
    this.#parser.begin({ toHead: request.method === 'HEAD', asksUpgrade: request.upgrade })
    if (!this.#sender.send(request)) this.#fail('protocol', 'the request cannot be written')
  }

  #rest(idleMs: number): void {
    this.#call = undefined
    this.#state = 'idle'
    this.#deadline = performance.now() + idleMs
    this.resume()
    this.#owner.onIdle(this)
  }

  #fail(kind: UpstreamFailure['kind'], why: string): void {
    const call = this.#call
    this.#end()
    call?.fail(kind, why)
  }

  /** Whatever it is doing, without a word to the call. */
  #end(): void {
    if (this.#state === 'closed') return
    this.#state = 'closed'
    this.#call = undefined
    this.#parser.stop()
    this.#sender.stop()
    this.#socket.destroy()
    this.#owner.onClosed(this)
  }
}
