import { addField, ResponseHead } from './response-head.ts'

/*
 * One answer of a replica, which is as little trusted as a client. It comes in pieces of any size, and the pieces make
 * no difference. Every line ends in CRLF and is held to limits before it is looked at.
 *
 *   idle          nothing is expected
 *   status line   ─► fields
 *   fields        ─► status line (1xx, at most 16), switched (101 that was asked for), or by the framing:
 *                    done, length, until close, chunk size
 *   length        ─► done, when all bytes are there
 *   until close   ─► done, when the connection ends in order
 *   chunk size    ─► chunk data, or after the last chunk trailers
 *   chunk data    ─► chunk end ─► chunk size
 *   trailers      ─► done
 *   done, switched, broken and stopped ─► nothing more until `begin`
 *
 * Every state before done goes to broken when a byte does not fit, and to stopped when the caller gives up.
 */
type State =
  | 'idle'
  | 'status line'
  | 'fields'
  | 'length'
  | 'until close'
  | 'chunk size'
  | 'chunk data'
  | 'chunk end'
  | 'trailers'
  | 'done'
  | 'switched'
  | 'broken'
  | 'stopped'

const maxHeadBytes = 32 * 1024
const maxFields = 256
const maxInformationalHeads = 16
const maxChunkLineBytes = 1024

/** RFC 9112, 7.1: no blanks, at most 2^52 bytes; extensions are well formed and mean nothing. */
const chunkLine =
  /^([0-9A-Fa-f]{1,13})(?:;[!#$%&'*+.^_`|~0-9A-Za-z-]+(?:=(?:[!#$%&'*+.^_`|~0-9A-Za-z-]+|"(?:[\t\x20\x21\x23-\x5b\x5d-\x7e\x80-\xff]|\\[\t\x20-\x7e\x80-\xff])*"))?)*$/
/** What has to be known before the body makes no sense behind it. */
const namesFraming = /^(?:content-length|transfer-encoding):/i
const lineFeed = 0x0a

/** What comes of an answer, in this order: `head`, `data` as often as needed, `complete`. Or `switched`, or `broken`. */
export type ResponseEvents = {
  head(head: ResponseHead): void
  data(chunk: Buffer): void
  /** `isLast`: the connection has ended with it, or bytes follow that nobody asked for. */
  complete(trailers: string[], isLast: boolean): void
  /** 101 as asked; `rest` is the first that was said in the other protocol. */
  switched(head: ResponseHead, rest: Buffer): void
  broken(why: string): void
}

export class ResponseParser {
  readonly #events: ResponseEvents
  #state: State = 'idle'
  #toHead = false
  #asksUpgrade = false
  #head = new ResponseHead()
  #informational = 0
  /** The begin of a line whose end has not come. */
  #part = ''
  /** Bytes of the head, the trailers or the chunk line so far. */
  #lineBytes = 0
  /** Bytes that are missing to the length or the chunk. */
  #left = 0
  #trailers: string[] = []
  /** Position in the piece that is being read. */
  #at = 0

  constructor(events: ResponseEvents) {
    this.#events = events
  }

  /** Expects one answer: to a HEAD, to a wish to switch to WebSocket, or to neither. */
  begin({ toHead, asksUpgrade }: { toHead: boolean; asksUpgrade: boolean }): void {
    this.#toHead = toHead
    this.#asksUpgrade = asksUpgrade
    this.#informational = 0
    this.#trailers = []
    this.#beginHead()
  }

  /** Expects nothing any more, and says nothing. Events may call it. */
  stop(): void {
    this.#state = 'stopped'
  }

  read(chunk: Buffer): void {
    this.#at = 0
    while (this.#at < chunk.length && this.#isReading) this.#step(chunk)
    // Last, so that the next answer may begin from within.
    if (this.#state === 'done') this.#complete(this.#at < chunk.length)
    else if (this.#state === 'switched') this.#events.switched(this.#head, chunk.subarray(this.#at))
  }

  /** The connection has ended in order. Returns whether that was the end of the answer, which is complete then. */
  ended(): boolean {
    if (this.#state !== 'until close') return false
    this.#complete(true)
    return true
  }

  get #isReading(): boolean {
    switch (this.#state) {
      case 'idle':
      case 'done':
      case 'switched':
      case 'broken':
      case 'stopped':
        return false
      default:
        return true
    }
  }

  #step(chunk: Buffer): void {
    switch (this.#state) {
      case 'status line':
        return this.#readStatusLine(chunk)
      case 'fields':
        return this.#readFields(chunk)
      case 'until close':
        return this.#readData(chunk, chunk.length)
      case 'length':
        this.#readData(chunk, this.#left)
        if (this.#left === 0) this.#become('done')
        return
      case 'chunk size':
        return this.#readChunkLine(chunk)
      case 'chunk data':
        this.#readData(chunk, this.#left)
        if (this.#left === 0) this.#become('chunk end')
        return
      case 'chunk end':
        return this.#readChunkEnd(chunk)
      case 'trailers':
        return this.#readTrailers(chunk)
      default:
    }
  }

  /** Goes on, unless an event has stopped or broken the answer. */
  #become(next: State): void {
    if (!this.#isReading) return
    this.#state = next
    if (next === 'chunk size' || next === 'chunk end' || next === 'trailers') this.#lineBytes = 0
  }

  #beginHead(): void {
    this.#state = 'status line'
    this.#head = new ResponseHead()
    this.#part = ''
    this.#lineBytes = 0
  }

  #readStatusLine(chunk: Buffer): void {
    const line = this.#line(chunk, maxHeadBytes)
    if (line === undefined) return
    const problem = this.#head.readStatusLine(line)
    if (problem === undefined) this.#become('fields')
    else this.#break(problem)
  }

  #readFields(chunk: Buffer): void {
    for (;;) {
      const line = this.#line(chunk, maxHeadBytes)
      if (line === undefined) return
      if (line === '') return this.#endHead()
      const problem = this.#head.readField(line)
      if (problem !== undefined) return this.#break(problem)
      if (this.#head.headers.length > 2 * maxFields) return this.#break('there are too many header lines')
    }
  }

  #endHead(): void {
    const head = this.#head
    const problem = head.contradiction
    if (problem !== undefined) return this.#break(problem)
    if (head.isInformational) return this.#endInformational(head)
    this.#events.head(head)
    switch (head.framing(this.#toHead)) {
      case 'none':
        return this.#become('done')
      case 'length':
        this.#left = head.length
        return this.#become('length')
      case 'chunked':
        return this.#become('chunk size')
      case 'until close':
        return this.#become('until close')
    }
  }

  #endInformational(head: ResponseHead): void {
    this.#informational += 1
    if (this.#asksUpgrade && head.switchesToWebSocket) this.#become('switched')
    else if (head.status === 101) this.#break('the protocol was switched unasked')
    else if (this.#informational > maxInformationalHeads)
      this.#break('there are too many informational answers')
    else this.#beginHead()
  }

  #readData(chunk: Buffer, most: number): void {
    const end = Math.min(chunk.length, this.#at + most)
    const data = this.#at === 0 && end === chunk.length ? chunk : chunk.subarray(this.#at, end)
    this.#left -= data.length
    this.#at = end
    this.#events.data(data)
  }

  #readChunkLine(chunk: Buffer): void {
    const line = this.#line(chunk, maxChunkLineBytes)
    if (line === undefined) return
    const size = chunkLine.exec(line)?.[1]
    if (size === undefined) return this.#break('the size of a chunk is malformed')
    this.#left = Number.parseInt(size, 16)
    this.#become(this.#left === 0 ? 'trailers' : 'chunk data')
  }

  #readChunkEnd(chunk: Buffer): void {
    const line = this.#line(chunk, 2)
    if (line === '') this.#become('chunk size')
    else if (line !== undefined) this.#break('a chunk is longer than its size')
  }

  #readTrailers(chunk: Buffer): void {
    for (;;) {
      const line = this.#line(chunk, maxHeadBytes)
      if (line === undefined) return
      if (line === '') return this.#become('done')
      if (!addField(line, this.#trailers) || namesFraming.test(line))
        return this.#break('a trailer line is malformed')
      if (this.#trailers.length > 2 * maxFields) return this.#break('there are too many trailer lines')
    }
  }

  /** The next line without its end; undefined when that has not come, or when the answer is broken. */
  #line(chunk: Buffer, mostBytes: number): string | undefined {
    const found = chunk.indexOf(lineFeed, this.#at)
    const end = found < 0 ? chunk.length : found + 1
    this.#lineBytes += end - this.#at
    if (this.#lineBytes > mostBytes) return this.#break('a line or a head is too long')
    const text = chunk.toString('latin1', this.#at, end)
    this.#at = end
    if (found < 0) {
      this.#part += text
      return undefined
    }
    const line = this.#part + text
    this.#part = ''
    return line.endsWith('\r\n') ? line.slice(0, -2) : this.#break('a line does not end in CRLF')
  }

  #complete(isLast: boolean): void {
    this.#state = 'idle'
    this.#events.complete(this.#trailers, isLast)
  }

  #break(why: string): undefined {
    this.#state = 'broken'
    this.#events.broken(why)
  }
}
