import { execFileSync, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { Agent, request } from 'node:http'
import * as net from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { WebSocket, WebSocketServer } from 'ws'
import { eventually, startApp, type App } from './testing/edge.ts'
import { bindSocket, startRouterProcess, untilRouterReady } from './testing/router-process.ts'
import { aReplica, aRevision, aSnapshot } from './testing/routes.ts'

/** More than the kernel takes for a client that does not read. */
const page = Buffer.alloc(16 * 1024 * 1024, 'page')

let folder: string
let app: App
const edge = bindSocket()
const admin = bindSocket()
const routers: ChildProcess[] = []

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'br-'))
  app = await startApp((request, response) => {
    request.resume()
    if (request.url === '/page') response.end(page)
    else setTimeout(() => response.end('ok'), 5)
  })
  const sockets = new WebSocketServer({ noServer: true })
  app.server.on('upgrade', (request, socket, head) =>
    sockets.handleUpgrade(request, socket, head, (peer) => peer.on('message', (data) => peer.send(data))),
  )
  const table = aSnapshot({ revisions: [aRevision({ replicas: [aReplica('r1', app.port)] })] })
  await writeFile(join(folder, 'routes.json'), JSON.stringify(table))
})
afterAll(async () => {
  for (const router of routers) if (router.exitCode === null) router.kill('SIGKILL')
  edge.close()
  admin.close()
  await app.close()
  await rm(folder, { recursive: true, force: true })
})

/** A router with nobody around it: no leader, no Redis, only its kept table. */
function startProcess(): ChildProcess {
  const tableFile = join(folder, 'routes.json')
  const router = startRouterProcess({ edge, admin, hubSocket: join(folder, 'nobody'), tableFile })
  routers.push(router)
  return router
}

const untilReady = (router: ChildProcess) => untilRouterReady(router, admin)

function get(agent: Agent): Promise<number> {
  return new Promise((resolve, reject) => {
    const asked = request(
      { port: edge.port, host: '127.0.0.1', agent, headers: { host: 'hello.localhost' } },
      (answer) => {
        answer.once('error', reject)
        answer.once('end', () => resolve(answer.statusCode ?? 0))
        answer.resume()
      },
    )
    asked.once('error', reject)
    asked.end()
  })
}

test('as many connections wait before a socket that was handed on as before an own one', async () => {
  const router = startProcess()
  await untilReady(router)
  const [, , longest] = execFileSync('ss', ['-Hltn', `sport = :${edge.port}`], { encoding: 'utf8' }).split(
    /\s+/,
  )
  const allowed = Number(await readFile('/proc/sys/net/core/somaxconn', 'utf8'))
  expect(Number(longest)).toBe(Math.min(4096, allowed))
  router.kill('SIGTERM')
  await once(router, 'exit')
})

test('routers replace each other under load from their kept tables, and no request is lost', async () => {
  let current = startProcess()
  await untilReady(current)
  const agent = new Agent({ keepAlive: true, maxSockets: 8 })
  const failures: unknown[] = []
  let answered = 0
  let stopped = false
  const clients = Array.from({ length: 8 }, async () => {
    while (!stopped)
      await get(agent).then(
        (status) => (status === 200 ? (answered += 1) : failures.push(status)),
        (error: unknown) => failures.push(error),
      )
  })
  for (let swap = 0; swap < 3; swap += 1) {
    const before = current
    current = startProcess()
    await untilReady(current)
    const seen = answered
    before.kill('SIGTERM')
    const [code] = (await once(before, 'exit')) as [number | null]
    expect(code).toBe(0)
    await eventually(() => answered > seen + 50)
  }
  stopped = true
  await Promise.all(clients)
  agent.destroy()
  expect(failures).toEqual([])
  current.kill('SIGTERM')
  await once(current, 'exit')
})

test('a slow reader and a WebSocket stay with the router that they began with until they are done', async () => {
  const before = startProcess()
  await untilReady(before)
  const reader = net.connect(edge.port, '127.0.0.1')
  reader.write('GET /page HTTP/1.1\r\nHost: hello.localhost\r\nConnection: close\r\n\r\n')
  await once(reader, 'readable')
  const socket = new WebSocket(`ws://127.0.0.1:${edge.port}/`, { headers: { host: 'hello.localhost' } })
  await once(socket, 'open')

  const after = startProcess()
  await untilReady(after)
  before.kill('SIGTERM')
  // Idle connections are closed after two seconds; these are not idle.
  await new Promise((resolve) => {
    setTimeout(resolve, 4000)
  })
  socket.send('still there?')
  expect(String(((await once(socket, 'message')) as [Buffer])[0])).toBe('still there?')
  let received = 0
  reader.on('data', (chunk: Buffer) => {
    received += chunk.length
  })
  await once(reader, 'close')
  expect(received).toBeGreaterThan(page.length)
  expect(before.exitCode).toBeNull()
  const ended = once(before, 'exit')
  socket.close()
  expect(await ended).toEqual([0, null])
  after.kill('SIGTERM')
  await once(after, 'exit')
})
