import { once } from 'node:events'
import type { RequestListener } from 'node:http'
import { connect } from 'node:net'
import { afterEach, expect, test } from 'vitest'
import { WebSocket, WebSocketServer } from 'ws'
import type { ReplicaRoute } from '@berth/contracts'
import type { AccessLine } from './exchange/access-line.ts'
import { ask, eventually, sendRaw, startApp, startEdge, type App, type Edge } from './testing/edge.ts'
import { aReplica, aRevision } from './testing/routes.ts'

let edge: Edge | undefined
const apps: App[] = []
afterEach(async () => {
  await edge?.close()
  edge = undefined
  await Promise.all(apps.splice(0).map((app) => app.close()))
})

async function app(listener: RequestListener): Promise<App> {
  const started = await startApp(listener)
  apps.push(started)
  return started
}

/** A router with its access lines; `lineOf` waits for that of a path. */
async function logging(replicas: ReplicaRoute[], env: Record<string, string> = {}, concurrency = 80) {
  const lines: AccessLine[] = []
  const log = {
    droppedLines: 0,
    write: (text: string) => void lines.push(JSON.parse(text) as AccessLine),
  }
  edge = await startEdge({ revisions: [aRevision({ replicas, concurrency })] }, env, log)
  const lineOf = (path: string) => eventually(() => lines.find((line) => line.path === path))
  return { port: edge.port, lines, lineOf }
}

test('a line tells who asked whom for what, and what it took', async () => {
  const traceparent = `00-${'a'.repeat(32)}-${'b'.repeat(16)}-01`
  const { port } = await app((request, response) => {
    request.resume()
    request.on('end', () => setTimeout(() => response.writeHead(201).write('he'), 20))
    setTimeout(() => response.end('llo'), 60)
  })
  const router = await logging([aReplica('r1', port)])
  const headers = { 'x-request-id': 'my-id', traceparent }
  await ask({ port: router.port, method: 'POST', path: '/a"b?secret=1', body: 'ping', headers })
  const line = await router.lineOf('/a"b')
  expect(line).toMatchObject({
    outcome: 'answered',
    requestId: 'my-id',
    traceparent,
    protocol: 'HTTP/1.1',
    method: 'POST',
    host: 'hello.localhost',
    status: 201,
    queuedMs: 0,
    bytes: 5,
    receivedBytes: 4,
    retries: 0,
    project: 'default',
    service: 'hello',
    revision: 'hello-00001',
    replica: 'r1',
  })
  const { upstreamHeadMs = 0, upstreamMs = 0, ms } = line
  expect(upstreamHeadMs).toBeGreaterThan(15)
  expect(upstreamMs).toBeGreaterThan(upstreamHeadMs)
  expect(ms).toBeGreaterThanOrEqual(upstreamMs)
})

test('the trace is the one that the app was given', async () => {
  let seen: string | undefined
  const { port } = await app((request, response) => {
    seen = String(request.headers['traceparent'])
    response.end()
  })
  const router = await logging([aReplica('r1', port)])
  await ask({ port: router.port, path: '/traced', headers: { traceparent: 'nonsense' } })
  expect((await router.lineOf('/traced')).traceparent).toBe(seen)
  expect(seen).toMatch(/^00-[0-9a-f]{32}-[0-9a-f]{16}-01$/)
})

test('the time in the queue is told apart from that of the app', async () => {
  const { port } = await app((_request, response) => setTimeout(() => response.end(), 60))
  const router = await logging([aReplica('r1', port)], {}, 1)
  await Promise.all([ask({ port: router.port, path: '/1' }), ask({ port: router.port, path: '/2' })])
  const waits = await Promise.all(['/1', '/2'].map((path) => router.lineOf(path)))
  const [first, second] = waits.toSorted((a, b) => a.queuedMs - b.queuedMs)
  expect(first?.queuedMs).toBe(0)
  expect(second?.queuedMs).toBeGreaterThan(40)
  expect((second?.queuedMs ?? 0) + (second?.upstreamMs ?? 0)).toBeLessThanOrEqual(second?.ms ?? 0)
})

test('after a second try the replica and its time are those of the second', async () => {
  const { port } = await app((_request, response) => response.end('ok'))
  const closed = await app(() => undefined)
  await closed.close()
  apps.splice(apps.indexOf(closed), 1)
  const router = await logging([aReplica('gone', closed.port), aReplica('r2', port)])
  await ask({ port: router.port, path: '/again' })
  expect(await router.lineOf('/again')).toMatchObject({ retries: 1, replica: 'r2', status: 200 })
  const { body } = await ask({ port: edge?.router.adminPort ?? 0, path: '/metrics' })
  expect(body).toContain('berth_router_ejections_total{project="default",service="hello"} 1\n')
  expect(body).toContain('berth_router_retries_total 1\n')
})

test('what no replica was asked for names none, and has no time of one', async () => {
  const router = await logging([])
  await ask({ port: router.port, host: 'nobody.localhost', path: '/unknown' })
  const line = await router.lineOf('/unknown')
  expect(line).toMatchObject({
    outcome: 'refused',
    status: 404,
    code: 'unknown-host',
    host: 'nobody.localhost',
  })
  for (const key of ['project', 'service', 'revision', 'replica', 'upstreamHeadMs', 'upstreamMs'])
    expect(line).not.toHaveProperty(key)
})

test('a WebSocket has one line, at its end', async () => {
  const { port, server } = await app(() => undefined)
  const sockets = new WebSocketServer({ server })
  const router = await logging([aReplica('r1', port)])
  const socket = new WebSocket(`ws://127.0.0.1:${router.port}/ws`, { headers: { host: 'hello.localhost' } })
  await once(socket, 'open')
  expect(router.lines.filter(({ path }) => path === '/ws')).toEqual([])
  socket.close()
  const { status, upstreamHeadMs = 0, upstreamMs = -1 } = await router.lineOf('/ws')
  expect(status).toBe(101)
  expect(upstreamMs).toBeGreaterThan(upstreamHeadMs)
  sockets.close()
})

test('of a sample of none only what went wrong is written, while all of it is counted', async () => {
  const { port } = await app((request, response) => {
    response.writeHead(request.url === '/bad' ? 500 : 200).end()
  })
  const router = await logging([aReplica('r1', port)], { BERTH_ROUTER_ACCESS_LOG_SAMPLE: '0' })
  for (const path of ['/good', '/bad', '/good']) await ask({ port: router.port, path })
  await sendRaw(router.port, 'NOT HTTP\r\n\r\n')
  await router.lineOf('/bad')
  expect(router.lines.filter(({ outcome }) => outcome !== undefined).map(({ status }) => status)).toEqual([
    500, 400,
  ])
  const { body } = await ask({ port: edge?.router.adminPort ?? 0, path: '/metrics' })
  expect(body).toContain('berth_router_requests_total{project="default",service="hello",status="2xx"} 2\n')
})

test('open connections of clients are counted, idle ones too', async () => {
  const router = await logging([])
  const sockets = [0, 1].map(() => connect(router.port, '127.0.0.1'))
  const connections = async () => {
    const { body } = await ask({ port: edge?.router.adminPort ?? 0, path: '/metrics' })
    return /^berth_router_connections ([0-9]+)$/m.exec(body)?.[1]
  }
  await eventually(async () => (await connections()) === '2')
  for (const socket of sockets) socket.destroy()
  await eventually(async () => (await connections()) === '0')
})
