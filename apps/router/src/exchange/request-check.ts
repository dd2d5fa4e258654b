import type { ErrorCode } from '@berth/contracts'
import type { RequestHead } from '../downstream/downstream.ts'
import type { EdgeLimits } from '../limits.ts'
import { isNamed } from './headers.ts'
import { hostName } from './host-name.ts'

const spokenVersions = new Set(['2.0', '1.1', '1.0'])

/**
 * A request that may be routed: `target` is in origin form and goes to the app byte for byte. `bodyBytes` is 0
 * without a body and infinite when its end is not known yet.
 */
export type Accepted = { kind: 'accepted'; host: string; target: string; bodyBytes: number }
/** A request of which the app sees nothing; its connection is closed. */
export type Refused = { kind: 'refused'; code: ErrorCode; detail: string }

/**
 * Refuses what two parsers might read in two ways (reliability: smuggling). Node's parser, in strict mode, has
 * refused most of it before; this is about what it lets pass. `isWhole`: all of the request has come. With TLS,
 * `serverName` is the host that the handshake was for: nobody else is asked on its connection.
 */
export function checkRequest(
  { method, url, httpVersion, rawHeaders }: RequestHead,
  isWhole: boolean,
  { maxHeaders, maxUriBytes }: Pick<EdgeLimits, 'maxHeaders' | 'maxUriBytes'>,
  serverName?: string,
): Accepted | Refused {
  if (!spokenVersions.has(httpVersion)) return refused('Only HTTP/2, HTTP/1.1 and HTTP/1.0 are spoken.')
  if (method === '' || method === 'CONNECT' || method === 'TRACE')
    return { kind: 'refused', code: 'method-not-allowed', detail: `${method} is not allowed.` }
  if (url.length > maxUriBytes)
    return {
      kind: 'refused',
      code: 'uri-too-long',
      detail: `The request target is longer than ${maxUriBytes} bytes.`,
    }
  if (rawHeaders.length / 2 > maxHeaders)
    return {
      kind: 'refused',
      code: 'headers-too-large',
      detail: `The request has more than ${maxHeaders} headers.`,
    }

  const expected = httpVersion === '1.0' ? [] : valuesOf(rawHeaders, 'expect')
  if (expected.some((value) => value.toLowerCase() !== '100-continue'))
    return {
      kind: 'refused',
      code: 'expectation-failed',
      detail: 'Only 100-continue can be expected.',
    }

  const hostHeader = onlyValue(rawHeaders, 'host')
  const host = hostHeader === undefined ? undefined : hostName(hostHeader)
  if (host === undefined) return refused('The request needs exactly one valid Host header.')
  if (serverName !== undefined && hostName(serverName) !== host)
    return {
      kind: 'refused',
      code: 'misdirected-host',
      detail: 'The Host header names another host than the TLS handshake.',
    }
  const framing = checkFraming(rawHeaders, httpVersion, isWhole)
  if (typeof framing === 'string') return refused(framing)
  const target = originForm(url, host, method)
  if (target === undefined) return refused('The request target is not acceptable.')
  return { kind: 'accepted', host, target, bodyBytes: framing.bodyBytes }
}

function checkFraming(
  rawHeaders: readonly string[],
  httpVersion: string,
  isWhole: boolean,
): string | { bodyBytes: number } {
  const lengths = valuesOf(rawHeaders, 'content-length')
  const codings = valuesOf(rawHeaders, 'transfer-encoding')
  if (lengths.length + codings.length > 1) return 'The length of the body is given more than once.'
  const [length] = lengths
  const [coding] = codings
  if (length !== undefined && !/^[0-9]{1,15}$/.test(length)) return 'Content-Length is not a number.'
  if (coding !== undefined && httpVersion === '1.0') return 'HTTP/1.0 has no Transfer-Encoding.'
  if (coding !== undefined && coding.toLowerCase() !== 'chunked') return 'Transfer-Encoding must be chunked.'
  if (httpVersion === '2.0') return checkFrames(length, isWhole)
  return { bodyBytes: coding === undefined ? Number(length ?? 0) : Number.POSITIVE_INFINITY }
}

/** In HTTP/2 frames tell where a body ends, and a length has to agree with them. */
function checkFrames(length: string | undefined, isWhole: boolean): string | { bodyBytes: number } {
  if (isWhole && Number(length ?? 0) > 0) return 'Content-Length names a body that is not there.'
  return { bodyBytes: isWhole ? 0 : Number(length ?? Number.POSITIVE_INFINITY) }
}

/** Printable ASCII; no space, no fragment, and no bytes above it, as Node's parser has it (RFC 3986, 2). */
const cleanTarget = /^\/[\x21-\x22\x24-\x7e]*$/

/** The target as the app gets it. An absolute form has to name the host that the Host header names. */
function originForm(url: string, host: string, method: string): string | undefined {
  if (url === '*' && method === 'OPTIONS') return url
  if (cleanTarget.test(url)) return url
  const absolute = /^http:\/\/([^/?#]*)(\/[^#]*)?$/i.exec(url)
  if (!absolute?.[1] || hostName(absolute[1]) !== host) return undefined
  const path = absolute[2] ?? '/'
  return cleanTarget.test(path) ? path : undefined
}

function onlyValue(rawHeaders: readonly string[], name: string): string | undefined {
  const values = valuesOf(rawHeaders, name)
  return values.length === 1 ? values[0] : undefined
}

function valuesOf(rawHeaders: readonly string[], name: string): string[] {
  const values: string[] = []
  for (let i = 0; i + 1 < rawHeaders.length; i += 2)
    if (isNamed(rawHeaders[i] ?? '', name)) values.push(rawHeaders[i + 1] ?? '')
  return values
}

function refused(detail: string): Refused {
  return { kind: 'refused', code: 'malformed-request', detail }
}
