import { BlockList, isIP } from 'node:net'
import type { Peer } from '../downstream/downstream.ts'
import { headerValue, type Asker } from './headers.ts'
import { randomHex } from './random-hex.ts'

/** A socket; one of TLS says that it is encrypted, and the name that the client gave for the handshake. */
type PeerSocket = { remoteAddress?: string | undefined; encrypted?: boolean; servername?: unknown }

/** W3C Trace Context, version 00; an id of zeros only is not valid. */
const validTraceparent = /^00-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}$/
const validRequestId = /^[A-Za-z0-9._:/+=-]{1,128}$/

export function peerOf(socket: PeerSocket, trusted: BlockList): Peer {
  const address = (socket.remoteAddress ?? '0.0.0.0').replace(/^::ffff:/, '')
  return {
    address,
    trusted: trusted.check(address, address.includes(':') ? 'ipv6' : 'ipv4'),
    scheme: socket.encrypted === true ? 'https' : 'http',
    serverName: typeof socket.servername === 'string' ? socket.servername : undefined,
  }
}

/** Who asks, from the connection and, for ids only, from what the client sent along. */
export function askerOf(raw: readonly string[], { address, trusted, scheme }: Peer): Asker {
  const requestId = headerValue(raw, 'x-request-id')
  const traceparent = headerValue(raw, 'traceparent')
  const continuesTrace = traceparent !== undefined && validTraceparent.test(traceparent)
  return {
    address,
    trusted,
    scheme,
    requestId: requestId && validRequestId.test(requestId) ? requestId : newRequestId(),
    traceparent: continuesTrace ? traceparent : newTraceparent(),
    continuesTrace,
  }
}

export function newRequestId(): string {
  return randomHex(12)
}

/** Reads `10.0.0.0/8, 127.0.0.1, fd00::/8`. Throws with the part that is no address. */
export function parseTrustedProxies(text: string): BlockList {
  const list = new BlockList()
  for (const part of text.split(',').map((entry) => entry.trim())) {
    if (part === '') continue
    const [address = '', prefix] = part.split('/')
    const version = isIP(address)
    const bits = prefix === undefined ? undefined : Number(prefix)
    const longest = version === 6 ? 128 : 32
    if (version === 0 || (bits !== undefined && !(Number.isInteger(bits) && bits >= 0 && bits <= longest)))
      throw new Error(`"${part}" is no address or network`)
    const family = version === 6 ? 'ipv6' : 'ipv4'
    if (bits === undefined) list.addAddress(address, family)
    else list.addSubnet(address, bits, family)
  }
  return list
}

function newTraceparent(): string {
  return `00-${randomHex(16)}-${randomHex(8)}-01`
}
