import { isFieldValue, isToken, lineBegin } from '../field-syntax.ts'
import type { UpstreamRequest } from './upstream.ts'

/** `bodyBytes`: the length that the head names; undefined when the body goes in chunks. */
export type RequestHead = { text: string; bodyBytes: number | undefined }

const target = /^[\x21-\x7e\x80-\xff]+$/
const wholeNumber = /^[0-9]{1,15}$/
/** Without a body these have to say so: 411 is answered otherwise. */
const expectBody = new Set(['POST', 'PUT', 'PATCH'])

/**
 * The head of a request with exactly one framing of its body: the length that the headers name, or else chunks.
 * Undefined when a part of it would be read as something else by the replica: nothing may be sent then.
 */
export function requestHead({
  method,
  path,
  headers,
  body,
  upgrade,
}: UpstreamRequest): RequestHead | undefined {
  if (!isToken(method) || !target.test(path)) return undefined
  let text = `${method} ${path} HTTP/1.1\r\n`
  let length: number | undefined
  for (let i = 0; i + 1 < headers.length; i += 2) {
    const name = headers[i] ?? ''
    const value = headers[i + 1] ?? ''
    const begin = lineBegin(name)
    if (begin === undefined || !isFieldValue(value)) return undefined
    if (name.length === 14 && name.toLowerCase() === 'content-length') {
      if (length !== undefined || !wholeNumber.test(value)) return undefined
      length = Number(value)
    }
    text += `${begin}${value}\r\n`
  }
  if (upgrade) text += 'Connection: Upgrade\r\nUpgrade: websocket\r\n'
  if (body === null) {
    if (length !== undefined && length > 0) return undefined
    if (length === undefined && expectBody.has(method)) text += 'Content-Length: 0\r\n'
    return { text: `${text}\r\n`, bodyBytes: 0 }
  }
  if (length === undefined) text += 'Transfer-Encoding: chunked\r\n'
  return { text: `${text}\r\n`, bodyBytes: length }
}

/**
 * A body where apps expect none is not read by all of them. What is left of it would be the begin of the next
 * request, so none may follow on the connection.
 */
export function mayLeaveBodyUnread({ method, body }: UpstreamRequest): boolean {
  return body !== null && !expectBody.has(method)
}
