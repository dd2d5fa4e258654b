import * as net from 'node:net'
import { createServer as createTlsServer, type TLSSocket } from 'node:tls'
import type { ConnectionPlaces } from './connection-places.ts'
import type { Connections } from './connections.ts'
import { FirstBytes, type FirstBytesEvents } from './downstream/first-bytes.ts'
import { Http1Connection, type ConnectionEvents } from './downstream/http1/connection.ts'
import { refuseUnparsed } from './downstream/http1/unparsed.ts'
import { Http2Session, type SessionEvents } from './downstream/http2/session.ts'
import type { Downstream } from './downstream/downstream.ts'
import type { AccessLine } from './exchange/access-line.ts'
import { peerOf } from './exchange/asker.ts'
import { Exchange, type ExchangeContext } from './exchange/exchange.ts'
import type { Refused } from './exchange/request-check.ts'
import type { CertificateChoice } from './tls/certificate-choice.ts'
import { tlsOptions } from './tls/tls-options.ts'

const backlog = 4096

/** Where the edge listens: a descriptor that somebody has bound, or an address. */
export type EdgePlace = { fd: number } | { host: string; port: number }

export type Edge = {
  context: ExchangeContext
  connections: Connections
  trustedProxies: net.BlockList
  places: ConnectionPlaces
  isDraining(): boolean
  /** Something was refused that never became a request. */
  onRefused(line: AccessLine): void
}

/**
 * A server for clients, one per place, with its connections among those of `edge`; it does not listen yet. With
 * `certificates` it speaks TLS, and ends a handshake for a host that none of them is for; there the client chooses
 * between HTTP/2 and HTTP/1.1 within the handshake, elsewhere by what it says first.
 */
export function createEdgeServer(edge: Edge, certificates?: () => CertificateChoice): net.Server {
  const { connections, context, places, trustedProxies } = edge
  const open = openers(edge)
  const admit = (socket: net.Socket) => places.admit(socket, peerOf(socket, trustedProxies))
  const options = { allowHalfOpen: true, noDelay: true }
  if (certificates) {
    const accept = (socket: TLSSocket) =>
      socket.alpnProtocol === 'h2' ? open.http2(socket) : open.http1(socket)
    const server = createTlsServer({ ...options, ...tlsOptions(certificates) }, accept)
    server.prependListener('connection', admit)
    return server
  }
  const waitMs = context.limits.headSeconds * 1000
  const events: FirstBytesEvents = {
    now,
    onKnown(first, protocol, bytes) {
      const { socket } = first
      if (protocol === 'http1') open.http1(socket).read(bytes)
      else {
        // What is put back must not flow away before the session reads.
        socket.pause()
        socket.unshift(bytes)
        open.http2(socket)
      }
      connections.closed(first)
    },
    onClosed: (first) => connections.closed(first),
  }
  return net.createServer(options, (socket) => {
    if (admit(socket)) connections.opened(new FirstBytes(socket, waitMs, events))
  })
}

/** How a connection begins once its protocol is known. */
function openers(edge: Edge) {
  const { context, connections, trustedProxies } = edge
  const { limits } = context

  function begin(request: Downstream, refusal: Refused | undefined): Exchange {
    const exchange = new Exchange(context, request)
    exchange.begin(refusal)
    return exchange
  }
  const http1Events: ConnectionEvents = {
    now,
    isDraining: () => edge.isDraining(),
    onRequest: begin,
    onUnparsed: (socket, refusal) => edge.onRefused(refuseUnparsed(socket, refusal)),
    onClosed: (connection) => connections.closed(connection),
  }
  const http2Events: SessionEvents = {
    now,
    onRequest: begin,
    onClosed: (session) => connections.closed(session),
  }
  return {
    http1(socket: net.Socket): Http1Connection {
      const connection = new Http1Connection(socket, peerOf(socket, trustedProxies), limits, http1Events)
      connections.opened(connection)
      return connection
    },
    http2(socket: net.Socket): void {
      connections.opened(new Http2Session(socket, peerOf(socket, trustedProxies), limits, http2Events))
    },
  }
}

function now(): number {
  return performance.now()
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
