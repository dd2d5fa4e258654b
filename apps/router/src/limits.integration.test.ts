import { once } from 'node:events'
import type { RequestListener } from 'node:http'
import { connect } from 'node:net'
import { afterEach, expect, test } from 'vitest'
import { WebSocket, WebSocketServer } from 'ws'
import type { RevisionRoute } from '@berth/contracts'
import { ask, eventually, startApp, startEdge } from './testing/edge.ts'
import { aReplica, aRevision } from './testing/routes.ts'

const endings: (() => Promise<unknown> | void)[] = []
const atEnd = (ending: () => Promise<unknown> | void) => endings.push(ending)
afterEach(async () => {
  for (const ending of endings.splice(0).reverse()) await ending()
})

async function serving(
  listener: RequestListener,
  env: Record<string, string>,
  more: Partial<RevisionRoute> = {},
) {
  const app = await startApp(listener)
  atEnd(() => app.close())
  const edge = await startEdge(
    { revisions: [aRevision({ replicas: [aReplica('r1', app.port)], ...more })] },
    env,
  )
  atEnd(() => edge.close())
  return { app, port: edge.port, leader: edge.leader }
}

/** Sends bytes and collects what comes back until the connection ends. */
function sending(port: number, bytes: string) {
  const socket = connect(port, '127.0.0.1')
  let text = ''
  socket.on('data', (chunk: Buffer) => (text += chunk.toString('latin1'))).on('error', () => undefined)
  socket.write(bytes)
  atEnd(() => void socket.destroy())
  return { socket, closed: once(socket, 'close'), received: () => text }
}

const post = (header: string, body = '') =>
  `POST / HTTP/1.1\r\nHost: hello.localhost\r\n${header}\r\n\r\n${body}`

test('a client has so many connections and no more; the next one is reset', async () => {
  const { port } = await serving((_request, response) => response.end('ok'), {
    BERTH_ROUTER_MAX_CONNECTIONS_PER_CLIENT: '2',
  })
  const held = [connect(port, '127.0.0.1'), connect(port, '127.0.0.1')]
  await Promise.all(held.map((socket) => once(socket, 'connect')))
  await expect(ask({ port })).rejects.toThrow(/ECONNRESET|socket hang up/)
  held[0]?.destroy()
  const answer = await eventually(() => ask({ port }).catch(() => undefined))
  expect(answer.status).toBe(200)
  held[1]?.destroy()
})

test.each([
  ['named by its length', 'Content-Length: 11', ''],
  ['that comes in chunks', 'Transfer-Encoding: chunked', '6\r\nhello \r\n5\r\nworld\r\n'],
])(
  'a body %s above what the service takes is 413, and none of what is above reaches it',
  async (_what, header, body) => {
    let came = ''
    const app: RequestListener = (request, response) => {
      request.on('data', (chunk: Buffer) => (came += chunk.toString())).on('error', () => undefined)
      request.on('end', () => response.end(came))
    }
    const { port, leader } = await serving(app, {}, { maxRequestBytes: 10 })
    const { received, closed } = sending(port, post(header, body))
    await closed
    expect(received()).toMatch(/^HTTP\/1\.1 413 [^]*"body-too-large"[^]*at most 10 bytes/)
    expect(came.length).toBeLessThanOrEqual(10)
    came = ''
    const within = await ask({ port, method: 'POST', body: 'just right' })
    expect(within).toMatchObject({ status: 200, body: 'just right' })
    await eventually(() => leader.last('report')?.revisions.every(({ inFlight }) => inFlight === 0))
  },
)

test('limits of the head are those that were set', async () => {
  const { port } = await serving((_request, response) => response.end('ok'), {
    BERTH_ROUTER_MAX_URI_BYTES: '256',
    BERTH_ROUTER_MAX_HEADERS: '10',
    BERTH_ROUTER_MAX_HEADER_BYTES: '1024',
  })
  expect((await ask({ port, path: `/${'a'.repeat(255)}` })).status).toBe(200)
  expect(await ask({ port, path: `/${'a'.repeat(256)}` })).toMatchObject({
    status: 414,
    body: expect.stringContaining('longer than 256 bytes') as string,
  })
  const many = Object.fromEntries(Array.from({ length: 12 }, (_, i) => [`x-${i}`, 'a']))
  expect(await ask({ port, headers: many })).toMatchObject({ status: 431 })
  expect(await ask({ port, headers: { x: 'a'.repeat(2000) } })).toMatchObject({
    status: 431,
    body: expect.stringContaining('longer than 1024 bytes') as string,
  })
})

test('an answer tells for how long its connection is kept', async () => {
  const { port } = await serving((_request, response) => response.end('ok'), {
    BERTH_ROUTER_IDLE_SECONDS: '20',
  })
  const { socket, received } = sending(port, 'GET / HTTP/1.1\r\nHost: hello.localhost\r\n\r\n')
  await eventually(() => received().endsWith('ok'))
  expect(received()).toContain('\r\nKeep-Alive: timeout=20\r\n')
  socket.destroy()
})

test('a WebSocket on which nobody speaks is asked to close, and one that is used is not', async () => {
  const webSockets = new WebSocketServer({ noServer: true })
  const { app, port } = await serving(() => undefined, { BERTH_ROUTER_WEBSOCKET_IDLE_SECONDS: '1' })
  app.server.on('upgrade', (request, socket, head) =>
    webSockets.handleUpgrade(request, socket, head, (ws) => ws.on('message', (data) => ws.send(data))),
  )
  const headers = { host: 'hello.localhost' }
  const used = new WebSocket(`ws://127.0.0.1:${port}/`, { headers })
  const quiet = new WebSocket(`ws://127.0.0.1:${port}/`, { headers })
  atEnd(() => used.terminate())
  await Promise.all([once(used, 'open'), once(quiet, 'open')])
  const speaking = setInterval(() => used.send('still here'), 100)
  atEnd(() => clearInterval(speaking))
  const [code] = (await once(quiet, 'close')) as [number]
  expect(code).toBe(1001)
  expect(used.readyState).toBe(WebSocket.OPEN)
})
