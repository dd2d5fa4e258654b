import type { Refused } from '../../exchange/request-check.ts'
import type { RequestHead } from '../downstream.ts'

/*
 * The head of a stream (RFC 9113, 8.2 and 8.3) in the words of HTTP/1.1, which is what everything behind it is about:
 * ":authority" becomes the Host header, several cookie fields become one. nghttp2 has refused most of what is wrong
 * with it already; nothing here relies on that.
 */

/** `refusal`: no app may see it. */
export type ReadHead = { head: RequestHead; refusal: Refused | undefined }

const fieldName = /^[!#$%&'*+.^_`|~0-9a-z-]+$/
const fieldValue = /^(?![\t ])[\t\x20-\x7e\x80-\xff]*(?<![\t ])$/
/** RFC 9113, 8.2.2. */
const connectionSpecific = new Set([
  'connection',
  'keep-alive',
  'proxy-connection',
  'transfer-encoding',
  'upgrade',
  'http2-settings',
])
const pseudoNames = [':method', ':scheme', ':authority', ':path']

/** RFC 9113, 6.5.2: what a field counts for, beside its name and value. */
const fieldOverheadBytes = 32

const tooLargeRefusal = refused('headers-too-large', 'The request header is too large.')

/** `raw` is flat, as it came. A client need not have seen yet that `maxBytes` is the limit. */
export function readHead(raw: readonly string[], maxBytes: number): ReadHead {
  const pseudo = new Map<string, string>()
  const fields: string[] = []
  const cookies: string[] = []
  let host: string | undefined
  let problem: string | undefined
  let bytes = 0
  for (let i = 0; i + 1 < raw.length; i += 2) {
    const name = raw[i] ?? ''
    const value = raw[i + 1] ?? ''
    bytes += name.length + value.length + fieldOverheadBytes
    if (!fieldValue.test(value)) problem ??= 'A header value is malformed.'
    if (name.startsWith(':')) {
      const isInPlace = pseudoNames.includes(name) && !pseudo.has(name) && fields.length === 0
      if (!isInPlace) problem ??= `${name} is not acceptable.`
      pseudo.set(name, value)
    } else {
      problem ??= problemOf(name, value)
      if (name === 'cookie') cookies.push(value)
      else if (name === 'host' && host === undefined) host = value
      else fields.push(name, value)
    }
  }
  const authority = pseudo.get(':authority')
  if (authority !== undefined && host !== undefined && authority.toLowerCase() !== host.toLowerCase())
    problem ??= 'Host names another host than :authority.'
  problem ??= missing(pseudo)
  const named = authority ?? host
  const rawHeaders = named === undefined ? fields : ['host', named, ...fields]
  if (cookies.length > 0) rawHeaders.push('cookie', cookies.join('; '))
  const head = {
    method: pseudo.get(':method') ?? '',
    url: pseudo.get(':path') ?? '',
    httpVersion: '2.0',
    rawHeaders,
  }
  const tooLarge = bytes > maxBytes ? tooLargeRefusal : undefined
  const malformed = problem === undefined ? undefined : refused('malformed-request', problem)
  return { head, refusal: tooLarge ?? malformed }
}

function problemOf(name: string, value: string): string | undefined {
  if (!fieldName.test(name)) return 'A header name is malformed.'
  if (connectionSpecific.has(name)) return `${name} has no place in HTTP/2.`
  if (name === 'te' && value.toLowerCase() !== 'trailers') return 'te may be trailers only.'
  return undefined
}

/** CONNECT has neither; it is refused for what it is. */
function missing(pseudo: ReadonlyMap<string, string>): string | undefined {
  if (pseudo.get(':method') === 'CONNECT') return undefined
  const scheme = pseudo.get(':scheme')
  if (scheme !== 'http' && scheme !== 'https') return ':scheme must be http or https.'
  if (!pseudo.has(':method') || !pseudo.has(':path')) return ':method or :path is missing.'
  return undefined
}

function refused(code: Refused['code'], detail: string): Refused {
  return { kind: 'refused', code, detail }
}
