import { connect } from 'node:net'
import { afterEach, expect, test } from 'vitest'
import { type App, listen } from './app.ts'
import { readSlowly, writeAll } from './slow-reader.ts'

const count = 4 * 1024 * 1024
let app: App | undefined

afterEach(() => app?.close())

test('a slow reader takes all bytes and no more per second than it should', async () => {
  app = await listen((socket) => writeAll(socket, count))
  const socket = connect(app.port, '127.0.0.1')
  const startedAt = performance.now()
  await readSlowly(socket, count * 4, count)
  // The last piece is not waited for.
  expect(performance.now() - startedAt).toBeGreaterThan(200)
  expect(socket.bytesRead).toBe(count)
  socket.destroy()
})

test('a slow reader says when it did not get everything', async () => {
  app = await listen((socket) => socket.end('short'))
  const socket = connect(app.port, '127.0.0.1')
  await expect(readSlowly(socket, count, count)).rejects.toThrow('closed after 5 of')
})
