import type { Peer } from '../downstream/downstream.ts'

/*
 * Headers on their way through. Order matters: what concerns only one hop is removed first, then the platform sets
 * its own, so that `Connection: X-Forwarded-For` removes nothing of ours (reliability, cases 57 to 61).
 */

const hopByHop = new Set([
  'connection',
  'keep-alive',
  'proxy-connection',
  'proxy-authorization',
  'proxy-authenticate',
  'te',
  'trailer',
  'transfer-encoding',
  'upgrade',
  'expect',
  'http2-settings',
])

/** A Connection header may not take these away: they decide who is asked for what. */
const endToEnd = new Set([
  'host',
  'content-length',
  'content-type',
  'authorization',
  'cookie',
  'set-cookie',
  'location',
])

const neverTrailing = new Set([
  'age',
  'cache-control',
  'date',
  'expires',
  'pragma',
  'range',
  'retry-after',
  'vary',
  'warning',
  'www-authenticate',
])

/** Said by the platform, or by a proxy that it trusts, never by a client. */
const platformNames = new Set([
  'forwarded',
  'x-real-ip',
  'true-client-ip',
  'x-original-url',
  'x-rewrite-url',
  'x-original-host',
])
/** What a trusted proxy says goes on: the first four together with what the platform says. */
const forwardedKept = new Set(['x-forwarded-for', 'x-forwarded-proto', 'x-forwarded-host', 'forwarded'])
const forwardedAsIs = new Set(['x-forwarded-port', 'x-forwarded-prefix', 'x-real-ip'])

/** Who asked, as the platform knows it. */
export type Asker = Peer & {
  requestId: string
  traceparent: string
  /** The trace is the client's own, so that its `tracestate` belongs to it. */
  continuesTrace: boolean
}

/** The headers for the replica, flat, with the Host of the client. */
export function headersForReplica(raw: readonly string[], asker: Asker): string[] {
  const nominated = nominatedBy(raw)
  const before = new Map<string, string>()
  const headers: string[] = []
  let host = ''
  for (const [name, value] of pairs(raw)) {
    const lower = name.toLowerCase()
    if (lower === 'host') host = value
    if (lower === 'te' && /(^|[\s,])trailers([\s,;]|$)/i.test(value)) headers.push('te', 'trailers')
    if (hopByHop.has(lower) || looksLikeFraming(lower)) continue
    if (lower === 'tracestate' && !asker.continuesTrace) continue
    if (forwardedKept.has(lower) && asker.trusted)
      before.set(lower, before.has(lower) ? `${before.get(lower)}, ${value}` : value)
    if (nominated.has(lower) && !endToEnd.has(lower)) continue
    if (isPlatformName(lower) && !(asker.trusted && forwardedAsIs.has(lower))) continue
    headers.push(name, value)
  }
  const forwarded = `for=${quoted(asker.address)};host="${host}";proto=${asker.scheme}`
  const chain = (name: string, own: string) => (before.has(name) ? `${before.get(name)}, ${own}` : own)
  headers.push(
    'X-Forwarded-For',
    chain('x-forwarded-for', asker.address),
    'X-Forwarded-Proto',
    before.get('x-forwarded-proto') ?? asker.scheme,
    'X-Forwarded-Host',
    before.get('x-forwarded-host') ?? host,
    'Forwarded',
    chain('forwarded', forwarded),
    'X-Request-Id',
    asker.requestId,
    'traceparent',
    asker.traceparent,
  )
  return headers
}

/** The headers of an answer for the client, flat. */
export function headersForClient(raw: readonly string[]): string[] {
  const nominated = nominatedBy(raw)
  const headers: string[] = []
  let setsCookie = false
  for (const [name, value] of pairs(raw)) {
    const lower = name.toLowerCase()
    if (hopByHop.has(lower) || (nominated.has(lower) && !endToEnd.has(lower))) continue
    headers.push(name, value)
    setsCookie ||= lower === 'set-cookie'
  }
  return setsCookie ? forOneClient(headers) : headers
}

/**
 * What may follow an answer (RFC 9110, 6.5.1), as pairs: nothing that says how the message ends, where it goes, who may
 * see it or what its body is, since that had to be known before.
 */
export function trailersForClient(raw: readonly string[]): [string, string][] {
  const trailers: [string, string][] = []
  for (const [name, value] of pairs(raw)) {
    const lower = name.toLowerCase()
    if (hopByHop.has(lower) || endToEnd.has(lower) || neverTrailing.has(lower)) continue
    if (!lower.startsWith('content-') && !isPlatformName(lower)) trailers.push([name, value])
  }
  return trailers
}

/** The first value of a header in a flat list. */
export function headerValue(raw: readonly string[], wanted: string): string | undefined {
  for (const [name, value] of pairs(raw)) if (name.toLowerCase() === wanted) return value
  return undefined
}

/** No shared cache may hand a cookie on to somebody else (Cloud Run's container contract says the same). */
function forOneClient(headers: string[]): string[] {
  const directives: string[] = []
  const others: string[] = []
  for (const [name, value] of pairs(headers))
    if (name.toLowerCase() === 'cache-control')
      directives.push(...value.split(',').map((part) => part.trim()))
    else others.push(name, value)
  if (directives.some((directive) => /^(private|no-store)$/i.test(directive))) return headers
  const kept = directives.filter(
    (directive) => directive !== '' && !/^(public|s-maxage=.*)$/i.test(directive),
  )
  return [...others, 'Cache-Control', ['private', ...kept].join(', ')]
}

/** `X_Forwarded_For` counts as `X-Forwarded-For`: many an app cannot tell them apart. */
function isPlatformName(lower: string): boolean {
  const name = lower.replaceAll('_', '-')
  if (name.startsWith('x-forwarded-') || name.startsWith('x-berth-') || platformNames.has(name)) return true
  return name === 'x-request-id' || name === 'traceparent'
}

/** `Transfer_Encoding` beside a length is a second framing for an app that takes `_` for `-`. */
function looksLikeFraming(lower: string): boolean {
  if (!lower.includes('_')) return false
  const name = lower.replaceAll('_', '-')
  return hopByHop.has(name) || name === 'content-length'
}

function nominatedBy(raw: readonly string[]): Set<string> {
  const names = new Set<string>()
  for (const [name, value] of pairs(raw))
    if (name.toLowerCase() === 'connection')
      for (const token of value.split(',')) names.add(token.trim().toLowerCase())
  return names
}

/** The fields of a flat list, name and value. */
export function* pairs(raw: readonly string[]): Generator<[string, string]> {
  for (let i = 0; i + 1 < raw.length; i += 2) yield [raw[i] ?? '', raw[i + 1] ?? '']
}

function quoted(address: string): string {
  return address.includes(':') ? `"[${address}]"` : address
}
