import type { NodeUid, ProbeTemplate } from '@berth/contracts'
import { connectEngine, EngineError, type Listener } from '@berth/engine'
import { once } from 'node:events'
import { createServer, type RequestListener, type Server } from 'node:http'
import {
  createServer as createHttp2Server,
  type Http2Server,
  type IncomingHttpHeaders,
  type ServerHttp2Stream,
} from 'node:http2'
import { createServer as createTcpServer, type AddressInfo } from 'node:net'
import { afterEach, describe, expect, test } from 'vitest'
import { askProbe, whyNotAskable } from './ask-probe.ts'
import type { ReplicaHost } from './replica-deps.ts'

type Check = ProbeTemplate['check']

const closers: (() => unknown)[] = []
afterEach(async () => {
  for (const close of closers.splice(0)) await close()
})

const probeOf = (check: Check): ProbeTemplate => ({
  check,
  initialDelaySeconds: 0,
  periodSeconds: 1,
  timeoutSeconds: 1,
  successThreshold: 1,
  failureThreshold: 1,
})

async function portOf(
  server: { listen(port: number, host: string): unknown; address(): unknown } & NodeJS.EventEmitter,
) {
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  return (server.address() as AddressInfo).port
}

async function httpApp(answer: RequestListener): Promise<number> {
  const server: Server = createServer(answer)
  closers.push(
    () => server.close(),
    () => server.closeAllConnections(),
  )
  return portOf(server)
}

type Inside = {
  kind?: 'unix' | 'tcp'
  honestPorts?: boolean
  ownAddress?: string
  listeners?: () => Listener[]
}

function hostWith({
  kind = 'unix',
  honestPorts = true,
  ownAddress,
  listeners = () => [],
}: Inside = {}): ReplicaHost {
  const endpoint =
    kind === 'tcp'
      ? ({ kind, host: '127.0.0.1', port: 1 } as const)
      : ({ kind, path: '/nonexistent.sock' } as const)
  return {
    uid: 'nod-1' as NodeUid,
    name: 'n1',
    runtime: {
      ...connectEngine(endpoint),
      endpoint,
      networkAddressOf: () => Promise.resolve(ownAddress ?? null),
      readListeners: async () => listeners(),
    },
    architecture: 'amd64',
    honestPorts,
    cpuMillis: 2000,
    sandboxImage: '',
    restoreSandboxImage: async () => {},
  }
}

const target = (hostPort: number) => ({ address: '127.0.0.1', hostPort, containerPort: 8080, sandboxId: 's' })
const ask = (check: Check, hostPort: number, host = hostWith()) =>
  askProbe(host, probeOf(check), target(hostPort))
const httpGet = (change: Partial<Extract<Check, { kind: 'httpGet' }>> = {}): Check => ({
  kind: 'httpGet',
  path: '/healthz?deep=1',
  headers: [],
  ...change,
})

/** A port on which nothing listens. */
async function closedPort(): Promise<number> {
  const server = createTcpServer()
  const port = await portOf(server)
  await new Promise((resolve) => server.close(resolve))
  return port
}

describe('an httpGet probe', () => {
  test.each([
    [200, { ok: true }],
    [204, { ok: true }],
    [399, { ok: true }],
    [400, { ok: false, message: 'GET /healthz?deep=1: status 400' }],
    [503, { ok: false, message: 'GET /healthz?deep=1: status 503' }],
  ])('takes status %i as %j', async (status, result) => {
    const port = await httpApp((_request, response) => void response.writeHead(status).end())
    expect(await ask(httpGet(), port)).toEqual(result)
  })

  test('asks for its path with its headers', async () => {
    const seen: unknown[] = []
    const port = await httpApp(({ method, url, headers }, response) => {
      seen.push([method, url, headers['x-probe'], headers.host])
      response.end()
    })
    const headers = [
      { name: 'X-Probe', value: 'yes' },
      { name: 'Host', value: 'app.example' },
    ]
    await ask(httpGet({ headers }), port)
    expect(seen).toEqual([['GET', '/healthz?deep=1', 'yes', 'app.example']])
  })

  test('follows no redirect, and is content with one', async () => {
    const asked: string[] = []
    const elsewhere = await httpApp((_request, response) => {
      asked.push('elsewhere')
      response.end()
    })
    const location = `http://127.0.0.1:${elsewhere}/`
    const port = await httpApp(({ url = '' }, response) => {
      asked.push(url)
      response.writeHead(302, { location }).end()
    })
    expect(await ask(httpGet(), port)).toEqual({ ok: true })
    expect(asked).toEqual(['/healthz?deep=1'])
  })

  test('fails when nothing comes in time, or nobody listens', async () => {
    const port = await httpApp(() => undefined)
    expect(await ask(httpGet(), port)).toEqual({
      ok: false,
      message: 'GET /healthz?deep=1: no answer in 1 s',
    })
    expect(await ask(httpGet(), await closedPort())).toEqual({
      ok: false,
      message: 'GET /healthz?deep=1: ECONNREFUSED',
    })
  })
})

describe('a grpc probe', () => {
  const serving = Buffer.from([0, 0, 0, 0, 2, 8, 1])
  const notServing = Buffer.from([0, 0, 0, 0, 2, 8, 2])

  /** Answers every call with a message and a status behind it. */
  async function grpcApp(
    answer: { message?: Buffer; status?: string } | ((stream: ServerHttp2Stream) => void),
  ): Promise<{ port: number; asked: { path: unknown; type: unknown; body: Buffer }[] }> {
    const asked: { path: unknown; type: unknown; body: Buffer }[] = []
    const server: Http2Server = createHttp2Server()
    server.on('stream', (stream: ServerHttp2Stream, headers: IncomingHttpHeaders) => {
      const chunks: Buffer[] = []
      stream.on('error', () => undefined)
      stream.on('data', (chunk: Buffer) => chunks.push(chunk))
      stream.on('end', () => {
        asked.push({ path: headers[':path'], type: headers['content-type'], body: Buffer.concat(chunks) })
        if (typeof answer === 'function') return answer(stream)
        stream.respond({ ':status': 200, 'content-type': 'application/grpc' }, { waitForTrailers: true })
        stream.on('wantTrailers', () => stream.sendTrailers({ 'grpc-status': answer.status ?? '0' }))
        stream.end(answer.message)
      })
    })
    closers.push(() => void server.close())
    return { port: await portOf(server), asked }
  }

  test('asks the health service for its service, and succeeds with SERVING', async () => {
    const { port, asked } = await grpcApp({ message: serving })
    expect(await ask({ kind: 'grpc', service: 'a' }, port)).toEqual({ ok: true })
    expect(asked).toEqual([
      {
        path: '/grpc.health.v1.Health/Check',
        type: 'application/grpc',
        body: Buffer.from([0, 0, 0, 0, 3, 0x0a, 1, 0x61]),
      },
    ])
  })

  test.each([
    ['another status', { message: notServing }, 'gRPC health check: NOT_SERVING'],
    ['no message', { status: '0' }, 'gRPC health check: an answer that is no HealthCheckResponse'],
    ['a service that it does not know', { status: '5' }, 'gRPC health check: grpc-status 5'],
    ['no health service', { status: '12' }, 'gRPC health check: the app has no health service'],
    ['a message and an error', { message: serving, status: '13' }, 'gRPC health check: grpc-status 13'],
    ['too long an answer', { message: Buffer.alloc(2000) }, 'gRPC health check: too long an answer'],
  ])('fails with %s', async (_what, answer, message) => {
    const { port } = await grpcApp(answer)
    expect(await ask({ kind: 'grpc' }, port)).toEqual({ ok: false, message })
  })

  test('reads the status of an answer that is a head only', async () => {
    const { port } = await grpcApp((stream) =>
      stream.respond({ ':status': 200, 'grpc-status': '12' }, { endStream: true }),
    )
    const message = 'gRPC health check of "a": the app has no health service'
    expect(await ask({ kind: 'grpc', service: 'a' }, port)).toEqual({ ok: false, message })
  })

  test('fails when nothing comes in time, nobody listens, or the app speaks HTTP/1.1', async () => {
    const { port } = await grpcApp(() => undefined)
    expect(await ask({ kind: 'grpc' }, port)).toEqual({
      ok: false,
      message: 'gRPC health check: no answer in 1 s',
    })
    expect(await ask({ kind: 'grpc' }, await closedPort())).toEqual({
      ok: false,
      message: 'gRPC health check: ECONNREFUSED',
    })
    const http1 = await httpApp((_request, response) => void response.end())
    expect(await ask({ kind: 'grpc' }, http1)).toMatchObject({ ok: false })
  })
})

describe('a probe of a port that is not published', () => {
  test('is asked at the own address of a container of a local engine', async () => {
    const port = await httpApp((_request, response) => void response.end())
    const host = hostWith({ ownAddress: '127.0.0.1' })
    expect(await ask(httpGet({ port }), 1, host)).toEqual({ ok: true })
    expect(await ask({ kind: 'tcpSocket', port }, 1, host)).toEqual({ ok: true })
    const closed = await closedPort()
    expect(await ask({ kind: 'tcpSocket', port: closed }, 1, host)).toEqual({
      ok: false,
      message: `a connection to port ${closed} is refused`,
    })
    expect(await whyNotAskable(host, probeOf(httpGet({ port })), target(1))).toBeNull()
  })

  test('is told by the sandbox on an engine elsewhere, where open is all that it asks', async () => {
    const host = hostWith({ kind: 'tcp', listeners: () => [{ address: '0.0.0.0', port: 9090 }] })
    expect(await ask({ kind: 'tcpSocket', port: 9090 }, 1, host)).toEqual({ ok: true })
    expect(await ask({ kind: 'tcpSocket', port: 9091 }, 1, host)).toEqual({
      ok: false,
      message: 'a connection to port 9091 is refused',
    })
  })

  test('cannot be put to an app on an engine elsewhere, which says so', async () => {
    const host = hostWith({ kind: 'tcp' })
    expect(await ask(httpGet({ port: 9090 }), 1, host)).toBeNull()
    expect(await whyNotAskable(host, probeOf(httpGet({ port: 9090 })), target(1))).toBe(
      'a httpGet probe of port 9090 needs a node whose containers can be reached from here, and node "n1" publishes port 8080 only',
    )
    expect(await whyNotAskable(host, probeOf(httpGet({ port: 8080 })), target(1))).toBeNull()
  })

  test('says nothing about the app when the engine does not answer', async () => {
    const listeners = () => {
      throw new EngineError('EngineTimeout', 'no answer')
    }
    expect(await ask({ kind: 'tcpSocket', port: 9090 }, 1, hostWith({ kind: 'tcp', listeners }))).toBeNull()
  })
})

test('a tcpSocket probe does not believe a published port behind which a proxy answers', async () => {
  const proxy = createTcpServer((socket) => socket.end())
  closers.push(() => proxy.close())
  const port = await portOf(proxy)
  expect(await ask({ kind: 'tcpSocket' }, port)).toEqual({ ok: true })
  expect(await ask({ kind: 'tcpSocket' }, port, hostWith({ kind: 'tcp', honestPorts: false }))).toEqual({
    ok: false,
    message: 'a connection to port 8080 is refused',
  })
})
