import { createRequire } from 'node:module'
import type { Socket } from 'node:net'

/*
 * Node's own HTTP/1.1 parser (llhttp) without Node's server around it: decision 017. It has no public name; the
 * version of Node is pinned with the other packages, and `assertParserFits` says at the start if it ever moved.
 */

/** A parser of requests. Callbacks are set under the numbers in `on`, and called from within `execute`. */
export type NodeParser = {
  initialize(type: number, resource: object, maxHeaderBytes: number, lenientFlags: number): void
  /** Returns how much was understood: less than all of it behind a request to switch protocols. */
  execute(chunk: Buffer): number | ParserError
  /** Reads from a socket's handle without a stream in between, until `unconsume`; tells of each read by `execute`. */
  consume(handle: Handle): void
  unconsume(): void
  /** A copy of what is being read, from within `execute`. */
  getCurrentBuffer(): Buffer
  close(): void
  [callback: number]: unknown
}

/** What a plain socket sits on. */
export type Handle = { isStreamBase?: boolean; writeQueueSize?: number; readStart(): void; readStop(): void }

export type ParserError = Error & { code: string; bytesParsed?: number }

/** Headers and target are undefined when they came by `headers` before, since there were many. */
export type OnHeadersComplete = (
  versionMajor: number,
  versionMinor: number,
  headers: string[] | undefined,
  method: number,
  url: string | undefined,
  statusCode: unknown,
  statusMessage: unknown,
  upgrade: boolean,
  shouldKeepAlive: boolean,
) => number

type ParserClass = {
  new (): NodeParser
  REQUEST: number
  kLenientNone: number
  kOnMessageBegin: number
  kOnHeaders: number
  kOnHeadersComplete: number
  kOnBody: number
  kOnMessageComplete: number
  kOnExecute: number
}

const internals = createRequire(import.meta.url)('_http_common') as {
  HTTPParser: ParserClass
  methods: string[]
}
const { HTTPParser, methods: knownMethods } = internals

export const on = {
  messageBegin: HTTPParser.kOnMessageBegin,
  headers: HTTPParser.kOnHeaders,
  headersComplete: HTTPParser.kOnHeadersComplete,
  body: HTTPParser.kOnBody,
  messageComplete: HTTPParser.kOnMessageComplete,
  execute: HTTPParser.kOnExecute,
} as const

/** What `headersComplete` returns: go on with a body if there is one, or leave what follows unread. */
export const goOn = 0
export const switchProtocol = 2

/** llhttp's numbers: up to 33 as Node lists them, then those of other protocols, and QUERY. */
const lastSharedMethod = 33
const queryMethod = 46

/** Undefined for methods of other protocols (PRI, DESCRIBE, ...). */
export function methodName(number: number): string | undefined {
  if (number <= lastSharedMethod) return knownMethods[number]
  return number === queryMethod ? 'QUERY' : undefined
}

/** The handle of a socket that a parser can read from; undefined when it has to be fed. */
export function handleOf(socket: Socket): Handle | undefined {
  const { _handle: handle, encrypted } = socket as Socket & { _handle?: Handle | null; encrypted?: boolean }
  return handle?.isStreamBase && encrypted !== true ? handle : undefined
}

/** What was given to the handle and not yet to the kernel. */
export function bytesQueued(socket: Socket): number {
  return (socket as Socket & { _handle?: Handle | null })._handle?.writeQueueSize ?? 0
}

/** Strict, and with `maxHeaderBytes` for a whole head. */
export function openParser(maxHeaderBytes: number): NodeParser {
  const parser = new HTTPParser()
  parser.initialize(HTTPParser.REQUEST, {}, maxHeaderBytes, HTTPParser.kLenientNone)
  return parser
}

/** Not from within one of its callbacks. */
export function closeParser(parser: NodeParser): void {
  parser.unconsume()
  parser.close()
}

/** Throws when this version of Node has another parser than the one that this code was written for. */
export function assertParserFits(): void {
  const parser = openParser(1024)
  let read = ''
  parser[on.headersComplete] = ((major, minor, headers, method, url, _code, _text, upgrade, keepAlive) => {
    read = [major, minor, headers?.join(), methodName(method), url, upgrade, keepAlive].join(' ')
    return goOn
  }) satisfies OnHeadersComplete
  const consumed = parser.execute(Buffer.from('QUERY /a HTTP/1.1\r\nHost: b\r\n\r\n'))
  parser.close()
  if (consumed !== 30 || read !== '1 1 Host,b QUERY /a false true')
    throw new Error(`Node ${process.version} has another HTTP parser than Berth was made for: ${read}`)
}
