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
  const headers: string[] = []
  let chains: Chains | undefined
  let host = ''
  for (let i = 0; i + 1 < raw.length; i += 2) {
    const name = raw[i] ?? ''
    const value = raw[i + 1] ?? ''
    const { lower, kind, spoofs } = knownField(name)
    if (kind === 'host') host = value
    if (kind === 'te' && /(^|[\s,])trailers([\s,;]|$)/i.test(value)) headers.push('te', 'trailers')
    if (kind === 'hop' || kind === 'te' || spoofs) continue
    if (lower === 'tracestate' && !asker.continuesTrace) continue
    if (kind === 'chain' && asker.trusted) (chains ??= new Chains()).add(lower, value)
    if (nominated?.has(lower) && !endToEnd.has(lower)) continue
    if (kind === 'chain' || kind === 'platform' || (kind === 'as-is' && !asker.trusted)) continue
    headers.push(name, value)
  }
  const { address, scheme, requestId, traceparent } = asker
  const forwarded = `for=${quoted(address)};host="${host}";proto=${scheme}`
  headers.push('X-Forwarded-For', chains?.with('x-forwarded-for', address) ?? address)
  headers.push('X-Forwarded-Proto', chains?.get('x-forwarded-proto') ?? scheme)
  headers.push('X-Forwarded-Host', chains?.get('x-forwarded-host') ?? host)
  headers.push('Forwarded', chains?.with('forwarded', forwarded) ?? forwarded)
  headers.push('X-Request-Id', requestId, 'traceparent', traceparent)
  return headers
}

/** What trusted proxies have said, each of them behind those before it. */
class Chains {
  readonly #values = new Map<string, string>()

  add(name: string, value: string): void {
    this.#values.set(name, this.with(name, value))
  }

  get(name: string): string | undefined {
    return this.#values.get(name)
  }

  with(name: string, own: string): string {
    const before = this.#values.get(name)
    return before === undefined ? own : `${before}, ${own}`
  }
}

/** The headers of an answer for the client, flat. */
export function headersForClient(raw: readonly string[]): string[] {
  const nominated = nominatedBy(raw)
  const headers: string[] = []
  let setsCookie = false
  for (let i = 0; i + 1 < raw.length; i += 2) {
    const name = raw[i] ?? ''
    const { lower, kind } = knownField(name)
    if (kind === 'hop' || kind === 'te' || (nominated?.has(lower) && !endToEnd.has(lower))) continue
    headers.push(name, raw[i + 1] ?? '')
    setsCookie ||= lower === 'set-cookie'
  }
  return setsCookie ? forOneClient(headers) : headers
}

const noTrailers: readonly [string, string][] = []

/**
 * What may follow an answer (RFC 9110, 6.5.1), as pairs: nothing that says how the message ends, where it goes, who may
 * see it or what its body is, since that had to be known before.
 */
export function trailersForClient(raw: readonly string[]): readonly [string, string][] {
  if (raw.length === 0) return noTrailers
  const trailers: [string, string][] = []
  for (const [name, value] of pairs(raw)) {
    const lower = name.toLowerCase()
    if (hopByHop.has(lower) || endToEnd.has(lower) || neverTrailing.has(lower)) continue
    if (!lower.startsWith('content-') && !isPlatformName(lower)) trailers.push([name, value])
  }
  return trailers
}

/** The first value of a header in a flat list; `wanted` is lower case. */
export function headerValue(raw: readonly string[], wanted: string): string | undefined {
  for (let i = 0; i + 1 < raw.length; i += 2) if (isNamed(raw[i] ?? '', wanted)) return raw[i + 1]
  return undefined
}

/** Most names have another length, which costs nothing to see. */
export function isNamed(name: string, wanted: string): boolean {
  return name.length === wanted.length && name.toLowerCase() === wanted
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

/** What a Connection header takes away at this hop; undefined when it names nothing that would go on. */
function nominatedBy(raw: readonly string[]): Set<string> | undefined {
  let names: Set<string> | undefined
  for (let i = 0; i + 1 < raw.length; i += 2) {
    if (!isNamed(raw[i] ?? '', 'connection')) continue
    const value = (raw[i + 1] ?? '').toLowerCase()
    if (value === 'keep-alive' || value === 'close') continue
    names ??= new Set()
    for (const token of value.split(',')) names.add(token.trim())
  }
  return names
}

/**
 * hop: for this connection only. chain: every proxy adds to it. as-is: what a trusted proxy said. platform: said by the
 * platform alone.
 */
type Kind = 'hop' | 'te' | 'host' | 'chain' | 'as-is' | 'platform' | 'other'

/** `spoofs`: an app may take it for the framing of the body. */
type KnownField = { lower: string; kind: Kind; spoofs: boolean }

/** The same few names come again and again. Whoever makes names up fills it, and gains nothing by that. */
const knownFields = new Map<string, KnownField>()
const maxKnownFields = 1024
const maxKnownLength = 64

function knownField(name: string): KnownField {
  const known = knownFields.get(name)
  if (known) return known
  const lower = name.toLowerCase()
  const field = { lower, kind: kindOf(lower), spoofs: looksLikeFraming(lower) }
  if (knownFields.size < maxKnownFields && name.length <= maxKnownLength) knownFields.set(name, field)
  return field
}

function kindOf(lower: string): Kind {
  if (lower === 'te' || lower === 'host') return lower
  if (hopByHop.has(lower)) return 'hop'
  if (forwardedKept.has(lower)) return 'chain'
  if (forwardedAsIs.has(lower)) return 'as-is'
  return isPlatformName(lower) ? 'platform' : 'other'
}

/** The fields of a flat list, name and value. */
export function* pairs(raw: readonly string[]): Generator<[string, string]> {
  for (let i = 0; i + 1 < raw.length; i += 2) yield [raw[i] ?? '', raw[i + 1] ?? '']
}

function quoted(address: string): string {
  return address.includes(':') ? `"[${address}]"` : address
}
