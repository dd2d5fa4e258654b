import {
  createServer,
  ServerResponse,
  type IncomingMessage,
  type Server,
  type ServerOptions,
} from 'node:http'
import { createServer as createTlsServer } from 'node:https'
import * as net from 'node:net'
import type { Connections } from './connections.ts'
import type { AccessLine } from './exchange/access-line.ts'
import { Exchange, type ExchangeContext } from './exchange/exchange.ts'
import { UpgradeOffer } from './exchange/upgrade-offer.ts'
import { tlsOptions } from './tls/tls-options.ts'
import type { CertificateChoice } from './tls/certificate-choice.ts'
import { refusalOf, refuseUnparsed, type ParserError } from './exchange/unparsed.ts'

/** A client gets this long to send its head. Bodies are bounded by the request timeout of their revision. */
const headersTimeoutMs = 10_000
/** Longer than what load balancers in front of it keep connections for. */
const keepAliveTimeoutMs = 75_000
const maxHeaderBytes = 16 * 1024
const connectionsCheckMs = 1000
const backlog = 4096

/** Where the edge listens: a descriptor that somebody has bound, or an address. */
export type EdgePlace = { fd: number } | { host: string; port: number }

/**
 * A server for clients, one per place, with its connections among `connections`; it does not listen yet. With
 * `certificates` it speaks TLS, and ends a handshake for a host that none of them is for.
 */
export function createEdgeServer(
  context: ExchangeContext,
  connections: Connections,
  certificates?: () => CertificateChoice,
): Server {
  const options: ServerOptions = {
    httpValidation: 'strict',
    maxHeaderSize: maxHeaderBytes,
    headersTimeout: headersTimeoutMs,
    requestTimeout: 0,
    keepAliveTimeout: keepAliveTimeoutMs,
    connectionsCheckingInterval: connectionsCheckMs,
    requireHostHeader: false,
    // Anything but a WebSocket, one with a body, or one behind an answer that is still to come stays plain HTTP/1.1:
    // its Upgrade header is dropped.
    shouldUpgradeCallback: (request) =>
      asksForWebSocket(request) && connections.on(request.socket).length === 0,
  }
  const server = certificates
    ? createTlsServer({ ...options, ...tlsOptions(certificates) })
    : createServer(options)
  // Node would drop what is above the limit silently; request-check counts and refuses.
  server.maxHeadersCount = 0
  server.on(certificates ? 'secureConnection' : 'connection', (socket: net.Socket) =>
    connections.opened(socket),
  )

  function begin(request: IncomingMessage, response: ServerResponse, expectsContinue = false): void {
    if (connections.isClosing(request.socket)) return
    new Exchange(context, request, response, { expectsContinue }).begin()
  }
  server.on('request', (request, response) => begin(request, response))
  server.on('checkContinue', (request: IncomingMessage, response: ServerResponse) =>
    begin(request, response, true),
  )
  server.on('checkExpectation', (request: IncomingMessage, response: ServerResponse) =>
    begin(request, response),
  )

  /** An upgrade or CONNECT: Node has taken its parser off the socket. */
  function beginDetached(request: IncomingMessage, socket: net.Socket, head: Buffer): void {
    socket.on('error', () => socket.destroy())
    const before = connections.on(socket)
    // A CONNECT behind requests: their answers cannot be written any more.
    for (const exchange of before) exchange.breakOff()
    if (before.length > 0 || connections.isClosing(socket)) return
    const upgrade = new UpgradeOffer(socket, head)
    new Exchange(context, request, responseOn(socket, request), { upgrade }).begin()
  }
  server.on('upgrade', beginDetached)
  server.on('connect', beginDetached)

  server.on('clientError', (error: ParserError, socket: net.Socket) => {
    const line = parserGaveUp(error, socket, connections.on(socket).at(-1))
    if (line) context.onRefused(line)
  })
  return server
}

/** Ends a connection that makes no sense any more, in its turn. Returns the access line of what was no exchange. */
function parserGaveUp(
  error: ParserError,
  socket: net.Socket,
  newest: Exchange | undefined,
): AccessLine | undefined {
  const refusal = socket.writable ? refusalOf(error) : undefined
  // The client left in the middle of something, or opened a connection ahead that it never used.
  const left = (newest && error.code === 'HPE_INVALID_EOF_STATE') || socket.bytesRead === 0
  if (refusal === undefined || left) return void socket.destroy()
  if (!newest) return refuseUnparsed(socket, refusal)
  newest.clientBroke(refusal)
  return undefined
}

/** Begins to accept at `place`; resolves with the port. */
export function listenAt(server: Server, place: EdgePlace): Promise<number> {
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
  make: () => Server,
): Promise<{ servers: Server[]; ports: number[] }> {
  const servers: Server[] = []
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

/**
 * Stops accepting and leaves every connection alone. `server.close()` of HTTP would close idle connections on which
 * a request may be on its way.
 */
export function stopAccepting(server: Server): void {
  net.Server.prototype.close.call(server)
}

function asksForWebSocket(request: IncomingMessage): boolean {
  const tokens = (request.headers.connection ?? '').toLowerCase().split(',')
  return (
    request.method === 'GET' &&
    request.headers['transfer-encoding'] === undefined &&
    Number(request.headers['content-length'] ?? 0) === 0 &&
    request.headers.upgrade?.toLowerCase() === 'websocket' &&
    tokens.some((token) => token.trim() === 'upgrade')
  )
}

/** A response on a socket that has no parser any more; its connection closes after it. */
function responseOn(socket: net.Socket, request: IncomingMessage): ServerResponse {
  const response = new ServerResponse(request)
  response.shouldKeepAlive = false
  response.assignSocket(socket)
  // Node has taken its own listener away with the parser. Once a tunnel is open the response has no socket.
  socket.on('drain', () => response.socket && response.emit('drain'))
  response.on('finish', () => {
    response.detachSocket(socket)
    socket.destroySoon()
  })
  return response
}
