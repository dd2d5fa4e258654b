import { Keyring, openDatabase } from '@berth/db'
import { randomBytes } from 'node:crypto'
import { mkdtemp, rm } from 'node:fs/promises'
import { createServer, type Server, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { pino } from 'pino'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { createApi } from './app.ts'
import { createApiServer } from './http/api-server.ts'
import { callHttp } from './testing/call.ts'
import { listenAnywhere } from './testing/listen-anywhere.ts'

/** A Postgres that takes connections and says nothing, and one that is not there at all. */
let folder: string
let silent: Server
const sockets = new Set<Socket>()

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'berth-api-'))
  silent = createServer((socket) => {
    sockets.add(socket)
    socket.on('error', () => {})
    socket.resume()
  })
  await new Promise<void>((resolve) => {
    silent.listen(join(folder, '.s.PGSQL.5432'), resolve)
  })
})
afterAll(async () => {
  for (const socket of sockets) socket.destroy()
  silent.close()
  await rm(folder, { recursive: true })
})

test.each([
  ['says nothing', () => folder],
  ['is gone', () => join(folder, 'nowhere')],
])('with a database that %s the API is alive, not ready, and answers 503', async (_how, host) => {
  const url = `postgres://berth@localhost/berth?host=${host()}`
  const db = openDatabase(url, { applicationName: 'test', maxConnections: 4 })
  const probe = openDatabase(url, { applicationName: 'test-probe', maxConnections: 1 })
  const log = pino({ level: 'silent' })
  const app = createApi({
    context: { keyring: new Keyring(randomBytes(32)), domain: 'localhost', edgePort: 80, controlSocket: '' },
    db,
    probe,
    hints: { send: () => {} },
    log,
    started: () => true,
  })
  const { port, close } = await listenAnywhere(createApiServer(app.fetch, log))
  try {
    expect((await callHttp(port, 'GET', '/healthz')).status).toBe(200)
    expect((await callHttp(port, 'GET', '/openapi.json')).status).toBe(200)
    expect((await callHttp(port, 'GET', '/readyz')).status).toBe(503)
    expect((await callHttp(port, 'GET', '/services')).status).toBe(401)
    for (const method of ['GET', 'POST']) {
      const answer = await callHttp(port, method, '/services', { token: 'berth_some' })
      expect(answer.json()).toMatchObject({ status: 503, code: 'store-unavailable' })
      expect(answer.headers['retry-after']).toBe('2')
    }
  } finally {
    await close()
    for (const socket of sockets) socket.destroy()
    await Promise.all([db.close(), probe.close()])
  }
})
