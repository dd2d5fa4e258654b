import { randomBytes } from 'node:crypto'
import { Agent, createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { Socket } from 'node:net'
import httpProxy from 'http-proxy'
import { createProxyServer } from 'httpxy'
import { Pool } from 'undici'

/*
 * A program for the benchmark: the proxy that somebody writes with a library of Node in an afternoon.
 * `node node-library-proxy.ts <library> <port> <port of the app>`.
 */

type Handlers = {
  request(request: IncomingMessage, response: ServerResponse): void
  upgrade?(request: IncomingMessage, socket: Socket, head: Buffer): void
}

const [library = '', port, appPort] = process.argv.slice(2)
const target = `http://127.0.0.1:${appPort}`
const agent = new Agent({ keepAlive: true })

const libraries: Record<string, () => Handlers> = {
  'http-proxy'() {
    const proxy = httpProxy.createProxyServer({ target, agent })
    proxy.on('error', (_error, _request, client) => client.destroy())
    return {
      request: (request, response) => proxy.web(request, response),
      upgrade: (request, socket, head) => proxy.ws(request, socket, head),
    }
  },
  httpxy() {
    const proxy = createProxyServer({ target, agent })
    proxy.on('error', (_error, _request, client) => client?.destroy())
    return {
      request: (request, response) => void proxy.web(request, response),
      upgrade: (request, socket, head) => void proxy.ws(request, socket, {}, head),
    }
  },
  undici() {
    const pool = new Pool(target, { connections: 128, pipelining: 1, headersTimeout: 0, bodyTimeout: 0 })
    return { request: (request, response) => dispatch(pool, request, response) }
  },
}

const handlers = libraries[library]?.()
if (!handlers) throw new Error(`no library "${library}"`)
const server = createServer({ keepAliveTimeout: 75_000, requestTimeout: 0 }, (request, response) => {
  addHeaders(request)
  handlers.request(request, response)
})
server.on('upgrade', (request, socket, head) => {
  addHeaders(request)
  if (handlers.upgrade) handlers.upgrade(request, socket as Socket, head)
  else socket.destroy()
})
server.listen({ port: Number(port), host: '127.0.0.1', backlog: 4096 })

/** What every proxy of the benchmark tells the app. */
function addHeaders({ headers, socket }: IncomingMessage): void {
  const id = randomBytes(16).toString('hex')
  headers['x-forwarded-for'] = socket.remoteAddress
  headers['x-forwarded-proto'] = 'http'
  headers['x-forwarded-host'] = headers.host
  headers['forwarded'] = `for=${socket.remoteAddress};host="${headers.host}";proto=http`
  headers['x-request-id'] = id
  headers['traceparent'] = `00-${id}-0123456789abcdef-01`
}

function dispatch(pool: Pool, request: IncomingMessage, response: ServerResponse): void {
  const { connection: _connection, 'keep-alive': _keepAlive, ...headers } = request.headers
  pool.dispatch(
    {
      method: request.method ?? 'GET',
      path: request.url ?? '/',
      headers,
      body: request.method === 'GET' ? null : request,
    },
    {
      onRequestStart: (controller) => {
        response.once('close', () => {
          if (!response.writableFinished) controller.abort(new Error('the client left'))
        })
      },
      onResponseStart: (_controller, status, answered) => void response.writeHead(status, answered),
      onResponseData: (controller, chunk) => {
        if (response.write(chunk)) return
        controller.pause()
        response.once('drain', () => controller.resume())
      },
      onResponseEnd: () => void response.end(),
      onResponseError: () => void response.destroy(),
    },
  )
}
