import * as net from 'node:net'
import { createServer as createTlsServer } from 'node:tls'
import type { Connections } from './connections.ts'
import { Http1Connection, type ConnectionEvents, type Limits } from './downstream/http1/connection.ts'
import { refuseUnparsed } from './downstream/http1/unparsed.ts'
import type { AccessLine } from './exchange/access-line.ts'
import { peerOf } from './exchange/asker.ts'
import { Exchange, type ExchangeContext } from './exchange/exchange.ts'
import type { CertificateChoice } from './tls/certificate-choice.ts'
import { tlsOptions } from './tls/tls-options.ts'

const limits: Limits = {
  maxHeaderBytes: 16 * 1024,
  headMs: 10_000,
  // Longer than what load balancers in front of it keep connections for.
  quietMs: 75_000,
}
const backlog = 4096

/** Where the edge listens: a descriptor that somebody has bound, or an address. */
export type EdgePlace = { fd: number } | { host: string; port: number }

export type Edge = {
  context: ExchangeContext
  connections: Connections
  trustedProxies: net.BlockList
  isDraining(): boolean
  /** Something was refused that never became a request. */
  onRefused(line: AccessLine): void
}

/**
 * A server for clients, one per place, with its connections among those of `edge`; it does not listen yet. With
 * `certificates` it speaks TLS, and ends a handshake for a host that none of them is for.
 */
export function createEdgeServer(edge: Edge, certificates?: () => CertificateChoice): net.Server {
  const { context, connections, trustedProxies } = edge
  const events: ConnectionEvents = {
    now: () => performance.now(),
    isDraining: () => edge.isDraining(),
    onRequest(request, refusal) {
      const exchange = new Exchange(context, request)
      exchange.begin(refusal)
      return exchange
    },
    onUnparsed: (socket, refusal) => edge.onRefused(refuseUnparsed(socket, refusal)),
    onClosed: (connection) => connections.closed(connection),
  }
  const accept = (socket: net.Socket): void =>
    connections.opened(new Http1Connection(socket, peerOf(socket, trustedProxies), limits, events))
  const options = { allowHalfOpen: true, noDelay: true }
  if (!certificates) return net.createServer(options, accept)
  return createTlsServer({ ...options, ...tlsOptions(certificates) }, accept)
}

/** Begins to accept at `place`; resolves with the port. */
export function listenAt(server: net.Server, place: EdgePlace): Promise<number> {
  return new Promise((resolve, reject) => {
    server.once('error', reject)
    const listening = () => {
      server.off('error', reject)
      const address = server.address()
      resolve(address !== null && typeof address === 'object' ? address.port : 0)
    }
    // With a descriptor Node takes the backlog as an argument only.
    if ('fd' in place) server.listen(place, backlog, listening)
    else server.listen({ ...place, backlog, ipv6Only: place.host === '::1' }, listening)
  })
}

/**
 * Servers at all places, made one by one; of several places with port 0 all get the port of the first. A machine
 * without IPv6 has no ::1, but the first place has to work.
 */
export async function listenAtAll(
  places: readonly EdgePlace[],
  make: () => net.Server,
): Promise<{ servers: net.Server[]; ports: number[] }> {
  const servers: net.Server[] = []
  const ports: number[] = []
  for (const place of places) {
    const server = make()
    const sharesPort = 'port' in place && place.port === 0 && ports[0] !== undefined
    try {
      ports.push(await listenAt(server, sharesPort ? { ...place, port: ports[0] ?? 0 } : place))
      servers.push(server)
    } catch (error) {
      if (servers.length === 0 || (error as NodeJS.ErrnoException).code !== 'EADDRNOTAVAIL') throw error
    }
  }
  return { servers, ports }
}
