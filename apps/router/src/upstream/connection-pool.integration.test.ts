import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { connect, type Socket } from 'node:net'
import { Readable } from 'node:stream'
import { afterEach, expect, test } from 'vitest'
import { eventually } from '../testing/edge.ts'
import { startRawOrigin, type RawOrigin } from '../testing/raw-origin.ts'
import { aReplica } from '../testing/routes.ts'
import { send } from '../testing/told.ts'
import { openConnectionPool } from './connection-pool.ts'

/* What our client does beyond the reference. */

let origin: RawOrigin | undefined
afterEach(async () => {
  await origin?.close()
  origin = undefined
})

/** A process that listens and never accepts, with its queue full: nobody is refused, and nobody gets through. */
async function startDeafPlace(): Promise<{ port: number; stop(): void }> {
  const script = `
    const server = require('node:net').createServer().listen({ port: 0, host: '127.0.0.1', backlog: 1 }, () => {
      require('node:fs').writeSync(1, String(server.address().port))
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0)
    })`
  const child = spawn(process.execPath, ['-e', script], { stdio: ['ignore', 'pipe', 'ignore'] })
  const [text] = (await once(child.stdout, 'data')) as [Buffer]
  const port = Number(text.toString())
  const waiting: Socket[] = Array.from({ length: 4 }, () =>
    connect(port, '127.0.0.1').on('error', () => undefined),
  )
  await eventually(() => waiting.filter(({ pending }) => !pending).length >= 2)
  return {
    port,
    stop() {
      for (const socket of waiting) socket.destroy()
      child.kill('SIGKILL')
    },
  }
}

test('a connection that nobody accepts is given up, and nothing was written', async () => {
  const place = await startDeafPlace()
  const pool = openConnectionPool(aReplica('r1', place.port), 1)
  const since = performance.now()
  expect(await send(pool).over).toMatchObject({ end: 'connect', written: false, received: false })
  expect(performance.now() - since).toBeGreaterThan(1900)
  await pool.close()
  place.stop()
})

test('the head of an upload goes ahead when its body is slow', async () => {
  origin = await startRawOrigin(({ socket }) => socket.write('HTTP/1.1 401 No\r\nContent-Length: 0\r\n\r\n'))
  const pool = openConnectionPool(aReplica('r1', origin.port), 1)
  const body = new Readable({ read: () => undefined })
  expect(await send(pool, { method: 'POST', body }).over).toMatchObject({ status: 401, end: 'complete' })
  await pool.close()
})

test('an upload whose body is there goes out in one piece', async () => {
  const pieces: string[] = []
  origin = await startRawOrigin((connection) => {
    pieces.push(connection.received)
    connection.socket.write('HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n')
  })
  const pool = openConnectionPool(aReplica('r1', origin.port), 1)
  const body = Readable.from([Buffer.from('hello')])
  await send(pool, { method: 'POST', headers: ['Host', 'a', 'Content-Length', '5'], body }).over
  expect(pieces).toEqual(['POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello'])
  await pool.close()
})

test.each([
  ['longer', 'hello!', '5'],
  ['shorter', 'hell', '5'],
])('a body that is %s than its length ends the connection', async (_what, text, length) => {
  origin = await startRawOrigin(() => undefined)
  const pool = openConnectionPool(aReplica('r1', origin.port), 1)
  const sent = send(pool, {
    method: 'POST',
    headers: ['Host', 'a', 'Content-Length', length],
    body: Readable.from([Buffer.from(text)]),
  })
  expect(await sent.over).toMatchObject({ end: 'died' })
  await eventually(() => origin?.connections[0]?.closed)
  await pool.close()
})

test('a port that is none is no connection', async () => {
  const pool = openConnectionPool(aReplica('r1', 70_000), 1)
  expect(await send(pool).over).toMatchObject({ end: 'connect', written: false })
  await pool.close()
})

test('bytes that come before the request has left are no answer to it', async () => {
  origin = await startRawOrigin(({ socket }) =>
    socket.write('HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nwell'),
  )
  const pool = openConnectionPool(aReplica('r1', origin.port), 1)
  await send(pool).over
  const trigger = connect(origin.port, '127.0.0.1')
  await eventually(() => origin?.connections.length === 2)
  const [connection, triggers] = origin.connections
  // Both are read in one turn of the loop, in this order: the request waits for the end of the turn.
  const sent = once(trigger, 'data').then(() => {
    const body = new Readable({ read: () => undefined })
    return send(pool, { method: 'POST', body }).over
  })
  triggers?.socket.write('now')
  connection?.socket.write('HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil')
  expect(await sent).toMatchObject({ end: 'died', written: false, received: false })
  trigger.destroy()
  await pool.close()
})

test('a service without a limit has 1,024 connections at most', async () => {
  const open: Socket[] = []
  origin = await startRawOrigin(({ socket }) => open.push(socket))
  const pool = openConnectionPool(aReplica('r1', origin.port), 0)
  const sent = Array.from({ length: 1100 }, () => send(pool))
  await eventually(() => open.length === 1024)
  for (const socket of open) socket.write('HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nwell')
  await eventually(() => open.length === 1100)
  for (const socket of open.slice(1024)) socket.write('HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nwell')
  const told = await Promise.all(sent.map(({ over }) => over))
  expect(told.every(({ body }) => body === 'well')).toBe(true)
  expect(origin.connections).toHaveLength(1024)
  await pool.close()
})
