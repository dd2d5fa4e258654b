import { STATUS_CODES } from 'node:http'
import type { Socket } from 'node:net'
import { isFieldValue, isToken, lineBegin } from '../../field-syntax.ts'
import { isShared, toKeep } from '../../read-buffer.ts'
import type { RequestHead } from '../downstream.ts'
import { dateLine } from './http-date.ts'

/*
 * Writes one answer to a client.
 *
 * idle      nothing was written
 * holding   the head, and a small first piece, wait for more to travel with: to the end of the tick at most
 * sending   the head is out
 * ended     the last of it was given to the socket
 */

/** As much as is copied into one piece with the head at less cost than a second piece has. */
const maxHeldBytes = 12 * 1024
const endsConnection = 'Connection: close\r\n\r\n'
const continues = 'HTTP/1.1 100 Continue\r\n\r\n'

/** How the client finds the end of the body. */
type Framing = 'none' | 'length' | 'chunks' | 'close'

export class AnswerWriter {
  readonly #socket: Socket
  readonly #request: RequestHead
  /** The head while it is held back; undefined before and after. */
  #head: string | undefined
  /** The first piece of the body, as text of one byte each: it becomes one piece with the head. */
  #held: string | undefined
  #framing: Framing = 'none'
  /** Bytes that the length in the head still promises. */
  #left = 0
  #begun = false
  /** The connection ends with this answer: decided before its head is written, or said by how it is framed. */
  closes: boolean
  readonly #idleSeconds: number

  /** `idleSeconds`: for how long a quiet connection stays the client's. */
  constructor(socket: Socket, request: RequestHead, options: { closes: boolean; idleSeconds: number }) {
    this.#socket = socket
    this.#request = request
    this.closes = options.closes
    this.#idleSeconds = options.idleSeconds
  }

  get begun(): boolean {
    return this.#begun
  }

  /** Tells a client that waits for it to send its body. */
  writeContinue(): void {
    if (!this.#begun) this.#socket.write(continues, 'latin1')
  }

  /** Returns false when a part of it cannot be written without being taken for something else. */
  writeHead(status: number, statusText: string, headers: readonly string[]): boolean {
    const reason = statusText !== '' && isFieldValue(statusText) ? statusText : STATUS_CODES[status]
    let head = `HTTP/1.1 ${status} ${reason ?? ''}\r\n`
    let length: string | undefined
    let hasDate = false
    for (let i = 0; i + 1 < headers.length; i += 2) {
      const name = headers[i] ?? ''
      const value = headers[i + 1] ?? ''
      const begin = lineBegin(name)
      if (begin === undefined || !isFieldValue(value)) return false
      if (name.length === 14 && name.toLowerCase() === 'content-length') length = value
      else if (name.length === 4 && name.toLowerCase() === 'date') hasDate = true
      head += `${begin}${value}\r\n`
    }
    if (!hasDate) head += dateLine()
    this.#frame(status, length)
    if (this.#framing === 'chunks') head += 'Transfer-Encoding: chunked\r\n'
    this.#head = head + (this.closes ? endsConnection : keepsOpen(this.#idleSeconds))
    this.#begun = true
    flushLater(this)
    return true
  }

  #frame(status: number, length: string | undefined): void {
    if (this.#request.method === 'HEAD' || status === 204 || status === 304) this.#framing = 'none'
    else if (length !== undefined) {
      this.#framing = 'length'
      this.#left = Number(length)
    } else if (this.#request.httpVersion === '1.1') this.#framing = 'chunks'
    else {
      this.#framing = 'close'
      this.closes = true
    }
  }

  /** Returns false when the client is slow: its socket says `drain`. */
  write(chunk: Buffer): boolean {
    if (chunk.length === 0 || this.#framing === 'none') return true
    if (this.#framing === 'length') {
      // Whatever an app says beyond its length is no part of the answer.
      if (chunk.length > this.#left) return true
      this.#left -= chunk.length
    }
    if (this.#head !== undefined && this.#held === undefined && chunk.length <= maxHeldBytes) {
      this.#held = chunk.toString('latin1')
      return true
    }
    const bytes = isShared(chunk) ? Buffer.from(chunk) : chunk
    const takesMore = this.#writePiece(bytes)
    // Else the kernel has it, and the memory is free again.
    if (this.#socket.writableLength > 0) toKeep(bytes)
    return takesMore
  }

  /** Gives the last bytes to the socket. Returns false when it has promised more than it got. */
  end(trailers: readonly [string, string][]): boolean {
    if (this.#framing === 'length' && this.#left > 0) return false
    let last = ''
    if (this.#framing === 'chunks') {
      last = '0\r\n'
      for (const [name, value] of trailers)
        if (isToken(name) && isFieldValue(value)) last += `${name}: ${value}\r\n`
      last += '\r\n'
    }
    const text = `${this.#takeHeld()}${last}`
    if (text !== '') this.#socket.write(text, 'latin1')
    return true
  }

  /** What is held back goes out. */
  flush(): void {
    const text = this.#takeHeld()
    if (text !== '') this.#socket.write(text, 'latin1')
  }

  /** Head and first piece as one string: one write without a copy in between. */
  #takeHeld(): string {
    const head = this.#head
    if (head === undefined) return ''
    const held = this.#held
    this.#head = undefined
    this.#held = undefined
    if (held === undefined) return head
    return this.#framing === 'chunks' ? `${head}${sizeLine(held.length)}${held}\r\n` : head + held
  }

  /** In one go with what is held back, and with what frames it. */
  #writePiece(chunk: Buffer): boolean {
    const socket = this.#socket
    const text = this.#takeHeld()
    if (this.#framing !== 'chunks' && text === '') return socket.write(chunk)
    socket.cork()
    if (this.#framing === 'chunks') socket.write(text + sizeLine(chunk.length), 'latin1')
    else socket.write(text, 'latin1')
    let takesMore = socket.write(chunk)
    if (this.#framing === 'chunks') takesMore = socket.write('\r\n', 'latin1')
    socket.uncork()
    return takesMore
  }
}

let keepsOpenFor = 0
let keepsOpenLines = ''

/** The end of a head behind which another request may follow. */
function keepsOpen(seconds: number): string {
  if (seconds !== keepsOpenFor) {
    keepsOpenFor = seconds
    keepsOpenLines = `Connection: keep-alive\r\nKeep-Alive: timeout=${seconds}\r\n\r\n`
  }
  return keepsOpenLines
}

function sizeLine(bytes: number): string {
  return `${bytes.toString(16)}\r\n`
}

/*
 * A head without a body yet (an event stream, say) goes out by itself at the end of the tick; else it has travelled
 * with the first bytes by then. One call for all answers of a tick.
 */
let held: AnswerWriter[] = []

function flushLater(writer: AnswerWriter): void {
  if (held.length === 0) setImmediate(flushAll)
  held.push(writer)
}

function flushAll(): void {
  const writers = held
  held = []
  for (const writer of writers) writer.flush()
}
