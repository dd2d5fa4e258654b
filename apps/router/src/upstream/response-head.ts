/*
 * The head of an answer, line by line. Every rule here is one that two parsers might read in two ways: what breaks one
 * is refused and never guessed at.
 */

import { isFieldValue, isToken } from '../field-syntax.ts'

export type Framing = 'none' | 'length' | 'chunked' | 'until close'

/** RFC 9112, 4; the reason phrase and the space before it may be missing. */
const statusLine = /^HTTP\/1\.([01]) ([1-9][0-9]{2})(?: ([\t\x20-\x7e\x80-\xff]*))?$/
const wholeNumber = /^[0-9]{1,15}$/
/** Not every parser takes it for a blank behind a value: to Node `chunked` with a tab is another coding. */
const tabBehind = /\t[\t ]*$/
const keepAliveSeconds = /(?:^|[,\s])timeout=([0-9]{1,6})(?:$|[,\s])/i

type StatusLine = { isVersion11: boolean; status: number; text: string }

/** Those that were read before: most answers begin with one of a few. */
const statusLines = new Map<string, StatusLine>()
const maxStatusLines = 256
const maxKnownLength = 64

function readStatusLine(line: string): StatusLine | undefined {
  const known = statusLines.get(line)
  if (known) return known
  const parts = statusLine.exec(line)
  if (!parts) return undefined
  const read = { isVersion11: parts[1] === '1', status: Number(parts[2]), text: parts[3] ?? '' }
  if (statusLines.size < maxStatusLines && line.length <= maxKnownLength) statusLines.set(line, read)
  return read
}

/**
 * Adds the name and value of a line to a flat list; false when the line is no field (RFC 9110, 5): a token, the colon at
 * once, visible characters and blanks. A folded line begins with a blank and is none.
 */
export function addField(line: string, fields: string[]): boolean {
  const colon = line.indexOf(':')
  if (colon < 1) return false
  const name = line.slice(0, colon)
  const value = line.slice(colon + 1)
  if (!isToken(name) || !isFieldValue(value)) return false
  fields.push(name, withoutBlanks(value))
  return true
}

export class ResponseHead {
  status = 0
  statusText = ''
  /** Names and values as they came, flat. */
  readonly headers: string[] = []
  /** How long the replica promises to keep the connection, in seconds. */
  keepsForSeconds: number | undefined
  #version11 = true
  #length: number | undefined
  #chunked = false
  #closes = false
  #namesUpgrade = false
  #toWebSocket = false

  /** Both readers return what is wrong with the line, nothing when it is well formed. */
  readStatusLine(line: string): string | undefined {
    const read = readStatusLine(line)
    if (!read) return 'the status line is malformed'
    this.#version11 = read.isVersion11
    this.status = read.status
    this.statusText = read.text
    return undefined
  }

  readField(line: string): string | undefined {
    if (!addField(line, this.headers)) return 'a header line is malformed'
    const name = this.headers[this.headers.length - 2] ?? ''
    const value = this.headers[this.headers.length - 1] ?? ''
    // Only names of these lengths matter here, and most fields have another.
    switch (name.length) {
      case 7:
        if (name.toLowerCase() === 'upgrade') this.#toWebSocket ||= value.toLowerCase() === 'websocket'
        return undefined
      case 10:
        return this.#readConnection(name.toLowerCase(), value)
      case 14:
        return name.toLowerCase() === 'content-length' ? this.#readLength(value, line) : undefined
      case 17:
        return name.toLowerCase() === 'transfer-encoding' ? this.#readCoding(value, line) : undefined
      default:
        return undefined
    }
  }

  /** What the head as a whole says wrong. */
  get contradiction(): string | undefined {
    if (this.#chunked && this.#length !== undefined) return 'both a length and a transfer coding are given'
    if (this.#chunked && !this.#version11) return 'HTTP/1.0 has no transfer coding'
    if (this.isInformational && (this.#announcesBody || this.#closes || !this.#version11))
      return 'an informational answer is meant to be the last'
    return undefined
  }

  get isInformational(): boolean {
    return this.status < 200
  }

  get switchesToWebSocket(): boolean {
    return this.status === 101 && this.#namesUpgrade && this.#toWebSocket
  }

  /** How the end of the body is found (RFC 9112, 6.3). */
  framing(toHead: boolean): Framing {
    if (toHead || this.#hasNoBody) return 'none'
    if (this.#chunked) return 'chunked'
    if (this.#length === undefined) return 'until close'
    return this.#length === 0 ? 'none' : 'length'
  }

  /** Of the body, in bytes, when the framing is `length`. */
  get length(): number {
    return this.#length ?? 0
  }

  /** Another request may follow on the connection. A body where none may be is likely to come all the same. */
  get keepsConnection(): boolean {
    return this.#version11 && !this.#closes && !(this.#hasNoBody && this.#announcesBody)
  }

  get #announcesBody(): boolean {
    return this.#chunked || this.length > 0
  }

  get #hasNoBody(): boolean {
    return this.status === 204 || this.status === 304
  }

  #readConnection(name: string, value: string): undefined {
    if (name === 'keep-alive') {
      const seconds = keepAliveSeconds.exec(value)?.[1]
      if (seconds !== undefined) this.keepsForSeconds = Number(seconds)
    }
    if (name !== 'connection') return
    for (const token of value.toLowerCase().split(',')) {
      if (token.trim() === 'close') this.#closes = true
      if (token.trim() === 'upgrade') this.#namesUpgrade = true
    }
  }

  #readLength(value: string, line: string): string | undefined {
    if (this.#length !== undefined) return 'the length is given more than once'
    if (!wholeNumber.test(value) || tabBehind.test(line)) return 'the length is no number'
    this.#length = Number(value)
    return undefined
  }

  #readCoding(value: string, line: string): string | undefined {
    if (this.#chunked || value.toLowerCase() !== 'chunked' || tabBehind.test(line))
      return 'the transfer coding is not chunked'
    this.#chunked = true
    return undefined
  }
}

/** Not `trim`, which takes bytes above ASCII away as well. */
function withoutBlanks(value: string): string {
  let begin = 0
  let end = value.length
  while (begin < end && isBlank(value.charCodeAt(begin))) begin += 1
  while (end > begin && isBlank(value.charCodeAt(end - 1))) end -= 1
  return value.slice(begin, end)
}

function isBlank(code: number): boolean {
  return code === 0x20 || code === 0x09
}
