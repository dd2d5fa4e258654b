import { once } from 'node:events'
import { Agent, request, type RequestListener, type ServerResponse } from 'node:http'
import { connect, type Socket } from 'node:net'
import { afterEach, expect, test } from 'vitest'
import { WebSocket, WebSocketServer } from 'ws'
import { ask, eventually, startApp, startEdge, type Edge } from './testing/edge.ts'
import { aReplica, aRevision } from './testing/routes.ts'

const endings: (() => Promise<unknown> | void)[] = []
const atEnd = (ending: () => Promise<unknown> | void) => endings.push(ending)
afterEach(async () => {
  for (const ending of endings.splice(0).reverse()) await ending()
})

/** A router that may drain for half a minute, before an app. */
async function serving(listener: RequestListener) {
  const app = await startApp(listener)
  atEnd(() => app.close())
  const revision = aRevision({ replicas: [aReplica('r1', app.port)] })
  const edge = await startEdge({ revisions: [revision] }, { BERTH_ROUTER_DRAIN_SECONDS: '30' })
  atEnd(() => edge.leader.close())
  return { app, edge }
}

/** Begins to stop; the promise is settled when the router has stopped. */
function stopping({ router }: Edge): { stopped: Promise<void>; isOver: () => boolean } {
  let over = false
  const stopped = router.stop().then(() => {
    over = true
  })
  atEnd(() => stopped)
  return { stopped, isOver: () => over }
}

const pause = (ms: number) =>
  new Promise((resolve) => {
    setTimeout(resolve, ms)
  })

async function readAll(socket: Socket): Promise<string> {
  let received = ''
  socket.on('data', (chunk: Buffer) => {
    received += chunk.toString('latin1')
  })
  await once(socket.resume(), 'close')
  return received
}

test('requests that wait behind the answer to a slow client are answered before the end', async () => {
  const page = Buffer.alloc(16 * 1024, 'page')
  let asked = 0
  const { edge } = await serving((_request, response) => {
    asked += 1
    response.end(page)
  })
  const socket = connect(edge.port, '127.0.0.1').pause()
  // More than the kernel takes on both sides.
  socket.write('GET / HTTP/1.1\r\nHost: hello.localhost\r\n\r\n'.repeat(400))
  await eventually(() => asked > 10)
  const { stopped, isOver } = stopping(edge)
  await pause(3500)
  expect(isOver()).toBe(false)
  const answers = (await readAll(socket)).split('HTTP/1.1 200 OK\r\n').slice(1)
  expect(answers).toHaveLength(400)
  for (const answer of answers) expect(answer.split('\r\n\r\n')[1]?.length).toBe(page.length)
  await stopped
})

test('of several answers on one connection only the last one says that it is', async () => {
  const open: ServerResponse[] = []
  const { edge } = await serving((_request, response) => open.push(response))
  const socket = connect(edge.port, '127.0.0.1')
  const received = readAll(socket)
  socket.write('GET / HTTP/1.1\r\nHost: hello.localhost\r\n\r\n'.repeat(2))
  await eventually(() => open.length === 1)
  const { stopped } = stopping(edge)
  open[0]?.end('done')
  await eventually(() => open.length === 2)
  open[1]?.end('done')
  const [first, second] = (await received).split('HTTP/1.1 200 OK\r\n').slice(1)
  expect(first).toMatch(/connection: keep-alive\r\n[^]*done$/i)
  expect(second).toMatch(/connection: close\r\n[^]*done$/i)
  await stopped
})

test('a connection that was promised to be kept carries one more request after its last answer', async () => {
  const open: ServerResponse[] = []
  const { edge } = await serving((asked, response) => {
    if (asked.url === '/next') return response.end('next')
    response.write('begun')
    open.push(response)
  })
  const agent = new Agent({ keepAlive: true, maxSockets: 1 })
  atEnd(() => agent.destroy())
  const get = async (path: string) => {
    const asked = request({ port: edge.port, agent, path, headers: { host: 'hello.localhost' } }).end()
    const [answer] = await once(asked, 'response')
    return { answer, ended: once(answer.resume(), 'end') }
  }
  const first = await get('/')
  expect(first.answer.headers.connection).toBe('keep-alive')
  const { stopped } = stopping(edge)
  await pause(2500)
  open[0]?.end()
  await first.ended
  await pause(1500)
  const second = await get('/next')
  expect(second.answer.statusCode).toBe(200)
  expect(second.answer.headers.connection).toBe('close')
  await second.ended
  await stopped
})

test('what is asked after an answer that said it was the last is not processed', async () => {
  const asked: string[] = []
  let finish = () => {}
  const { edge } = await serving((request, response) => {
    asked.push(String(request.url))
    response.write('begun, ')
    finish = () => response.end('done')
  })
  const socket = connect(edge.port, '127.0.0.1')
  const received = readAll(socket)
  await pause(100)
  const { stopped } = stopping(edge)
  socket.write('GET /first HTTP/1.1\r\nHost: hello.localhost\r\n\r\n')
  await once(socket, 'data')
  socket.write('GET /second HTTP/1.1\r\nHost: hello.localhost\r\n\r\n')
  await pause(300)
  finish()
  expect(await received).toMatch(/connection: close\r\n[^]*begun, [^]*done/i)
  expect(asked).toEqual(['/first'])
  await stopped
})

test('a connection whose next request is half there is waited for', async () => {
  const { edge } = await serving((_request, response) => response.end('whole'))
  const socket = connect(edge.port, '127.0.0.1')
  socket.write('GET / HTTP/1.1\r\nHost: hello.localhost\r\n')
  await pause(100)
  const { stopped } = stopping(edge)
  for (let i = 0; i < 3; i += 1) {
    await pause(1000)
    socket.write(`A${i}: b\r\n`)
  }
  socket.write('\r\n')
  expect(await readAll(socket)).toContain('whole')
  await stopped
})

test('idle connections are closed, and then nothing is waited for', async () => {
  const { edge } = await serving((_request, response) => response.end())
  const idle = connect(edge.port, '127.0.0.1').resume()
  await ask({ port: edge.port })
  const { stopped, isOver } = stopping(edge)
  await once(idle, 'close')
  await eventually(isOver, 2000)
  await stopped
})

test('a WebSocket goes on until its client leaves', async () => {
  const { app, edge } = await serving((_request, response) => response.end())
  const sockets = new WebSocketServer({ noServer: true })
  app.server.on('upgrade', (asked, socket, head) =>
    sockets.handleUpgrade(asked, socket, head, (peer) => peer.on('message', (data) => peer.send(data))),
  )
  const client = new WebSocket(`ws://127.0.0.1:${edge.port}/`, { headers: { host: 'hello.localhost' } })
  await once(client, 'open')
  const { stopped, isOver } = stopping(edge)
  await pause(3000)
  client.send('still there?')
  expect(String(((await once(client, 'message')) as [Buffer])[0])).toBe('still there?')
  expect(isOver()).toBe(false)
  client.close()
  await stopped
})

test('the leader hears when nothing but what is in flight needs a slot', async () => {
  const open: ServerResponse[] = []
  const { edge } = await serving((_request, response) => open.push(response))
  const answer = ask({ port: edge.port })
  await eventually(() => open.length === 1)
  const { stopped } = stopping(edge)
  await pause(500)
  expect(edge.leader.last('slots-held')).toBeUndefined()
  await eventually(() => edge.leader.last('slots-held')?.stopping === true)
  open[0]?.end()
  expect((await answer).status).toBe(200)
  await stopped
})
