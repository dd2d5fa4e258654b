import { createServer, ServerResponse, type IncomingMessage, type Server } from 'node:http'
import * as net from 'node:net'
import { errorCatalogue, problem, problemContentType, type ErrorCode } from '@berth/contracts'
import type { Connections } from './connections.ts'
import { Exchange, type ExchangeContext } from './exchange/exchange.ts'
import { maxUriBytes } from './exchange/request-check.ts'

/** A client gets this long to send its head. Bodies are bounded by the request timeout of their revision. */
const headersTimeoutMs = 10_000
/** Longer than what load balancers in front of it keep connections for. */
const keepAliveTimeoutMs = 75_000
const maxHeaderBytes = 16 * 1024
const connectionsCheckMs = 1000
const backlog = 4096

/** Where the edge listens: a descriptor that somebody has bound, or an address. */
export type EdgePlace = { fd: number } | { host: string; port: number }

/** A server for clients, one per place, with its connections among `connections`; it does not listen yet. */
export function createEdgeServer(context: ExchangeContext, connections: Connections): Server {
  const server = createServer({
    httpValidation: 'strict',
    maxHeaderSize: maxHeaderBytes,
    headersTimeout: headersTimeoutMs,
    requestTimeout: 0,
    keepAliveTimeout: keepAliveTimeoutMs,
    connectionsCheckingInterval: connectionsCheckMs,
    requireHostHeader: false,
    // Anything but a WebSocket, one with a body, or one behind an answer that is still to come stays plain HTTP/1.1:
    // its Upgrade header is dropped.
    shouldUpgradeCallback: (request) => asksForWebSocket(request) && !answering(request.socket),
  })
  // Node would drop what is above the limit silently; request-check counts and refuses.
  server.maxHeadersCount = 0
  server.on('connection', (socket: net.Socket) => connections.opened(socket))
  function begin(request: IncomingMessage, response: ServerResponse, expectsContinue = false): void {
    if (connections.isClosing(request.socket)) return
    new Exchange(context, request, response, { expectsContinue }).begin()
  }
  server.on('request', (request, response) => begin(request, response))
  server.on('checkContinue', (request: IncomingMessage, response: ServerResponse) =>
    begin(request, response, true),
  )
  server.on('checkExpectation', (request: IncomingMessage, response: ServerResponse) => {
    refuse(request.socket, 'expectation-failed', 'Only 100-continue can be expected.')
    response.destroy()
  })
  server.on('upgrade', (request: IncomingMessage, socket: net.Socket, head: Buffer) =>
    upgrade(context, request, socket, head),
  )
  server.on('connect', (_request: IncomingMessage, socket: net.Socket) =>
    refuse(socket, 'method-not-allowed', 'CONNECT is not allowed.'),
  )
  server.on('clientError', (error: NodeJS.ErrnoException & { rawPacket?: Buffer }, socket: net.Socket) =>
    refuseUnparsed(error, socket),
  )
  return server
}

/** Begins to accept at `place`; resolves with the port. */
export function listenAt(server: Server, place: EdgePlace): Promise<number> {
  return new Promise((resolve, reject) => {
    server.once('error', reject)
    server.listen(
      { ...place, backlog, ...('host' in place && place.host === '::1' ? { ipv6Only: true } : {}) },
      () => {
        server.off('error', reject)
        const address = server.address()
        resolve(address !== null && typeof address === 'object' ? address.port : 0)
      },
    )
  })
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

function upgrade(context: ExchangeContext, request: IncomingMessage, socket: net.Socket, head: Buffer): void {
  socket.on('error', () => socket.destroy())
  if (answering(socket)) return void socket.destroy()
  const response = new ServerResponse(request)
  response.shouldKeepAlive = false
  response.assignSocket(socket)
  // Node has taken its own listener away with the parser. Once the tunnel is open the response has no socket.
  socket.on('drain', () => response.socket && response.emit('drain'))
  response.on('finish', () => {
    response.detachSocket(socket)
    socket.destroySoon()
  })
  new Exchange(context, request, response, { upgrade: { socket, head } }).begin()
}

/** The answer that a socket waits for or is in the middle of; Node has no public name for it. */
function answering(socket: net.Socket): ServerResponse | undefined {
  return (socket as net.Socket & { _httpMessage?: ServerResponse | null })._httpMessage ?? undefined
}

function refuseUnparsed(error: NodeJS.ErrnoException & { rawPacket?: Buffer }, socket: net.Socket): void {
  if (error.code === 'ECONNRESET' || !socket.writable || answering(socket)?.headersSent) {
    socket.destroy()
    return
  }
  if (error.code === 'HPE_HEADER_OVERFLOW') {
    const target = error.rawPacket?.subarray(0, maxUriBytes + 1) ?? Buffer.alloc(0)
    if (target.length > maxUriBytes && !target.includes(0x0a))
      refuse(socket, 'uri-too-long', 'The request target is longer than 8 KiB.')
    else refuse(socket, 'headers-too-large', 'The request header is longer than 16 KiB.')
  } else refuse(socket, 'malformed-request', 'The request cannot be understood.')
}

/** Answers on the bare socket and closes it. */
function refuse(socket: net.Socket, code: ErrorCode, detail: string): void {
  const { status, title } = errorCatalogue[code]
  const body = JSON.stringify(problem(code, detail, ''))
  const allow = status === 405 ? 'Allow: GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS\r\n' : ''
  socket.on('error', () => socket.destroy())
  socket.end(
    `HTTP/1.1 ${status} ${title}\r\nContent-Type: ${problemContentType}\r\n${allow}` +
      `Content-Length: ${Buffer.byteLength(body)}\r\nConnection: close\r\n\r\n${body}`,
    () => socket.destroy(),
  )
}
