import { connect, type Socket } from 'node:net'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { eventually } from '../testing/edge.ts'
import { get, host } from './client-bytes.ts'
import { expectArrived, expectRefused, statusesIn } from './verdicts.ts'
import { startWatchedEdge, type WatchedEdge } from './watched-edge.ts'

/*
 * Clients that take their time with a body or with an answer, up to the request timeout of their service.
 */

let watched: WatchedEdge
let socket: Socket | undefined
beforeEach(async () => {
  watched = await startWatchedEdge({ revision: { timeoutMs: 500 } })
})
afterEach(async () => {
  socket?.destroy()
  await watched.close()
})

const replicaConnection = () => watched.origin.connections[0]

test('a client that is told to go on and never sends its body is 504, and its request never whole (case 28)', async () => {
  const head = `POST / HTTP/1.1\r\n${host}Expect: 100-continue\r\nContent-Length: 5\r\n\r\n`
  const seen = await watched.send(head)
  expect(statusesIn(seen)).toEqual([100, 504])
  expect(seen.closed).toBe(true)
  expect(seen.requests).toEqual([])
  // No slot and no connection is kept for it.
  expect(seen.opened).toBe(2)
  expect(replicaConnection()?.closed).toBe(true)
})

test.each([
  ['a length', 'Content-Length: 1000', ''],
  ['chunks', 'Transfer-Encoding: chunked', '3e8\r\n'],
])(
  'a body with %s that drips is cut off at the request timeout, and never whole (case 69)',
  async (_what, framing, begin) => {
    const head = `POST / HTTP/1.1\r\n${host}${framing}\r\n\r\n${begin}`
    const seen = await watched.send([head, ...Array.from({ length: 160 }, () => 'a')])
    expect(statusesIn(seen)).toEqual([504])
    expect(seen.leftOver).toBe('')
    expect(seen.closed).toBe(true)
    expect(seen.requests).toEqual([])
    expect(replicaConnection()?.closed).toBe(true)
  },
)

test('a client that takes nothing of its answer is cut off at the request timeout, and the app is not read on (case 69)', async () => {
  const piece = Buffer.alloc(1024 * 1024)
  const pieces = 256
  let taken = 0
  watched.answer = (_request, connection) => {
    connection.socket.write(`HTTP/1.1 200 OK\r\nContent-Length: ${pieces * piece.length}\r\n\r\n`)
    const write = (error?: Error | null): void => {
      if (error) return
      taken += 1
      if (taken < pieces) connection.socket.write(piece, write)
    }
    write()
    return ''
  }
  socket = connect({ port: watched.edge.port, host: '127.0.0.1' }).on('error', () => undefined)
  socket.pause()
  socket.write(get())
  await eventually(() => replicaConnection()?.closed)
  // What the kernel takes on two connections, and little more.
  expect(taken).toBeGreaterThan(0)
  expect(taken).toBeLessThan(64)
})

test('a flood of byte ranges is one header for the app, within the limits of all (case 69)', async () => {
  const ranges = `Range: bytes=${'0-0,'.repeat(3000)}0-0`
  const seen = await watched.send(get(ranges))
  expectArrived(seen, ['GET /'])
  expect(seen.requests[0]?.fields).toContainEqual(['Range', ranges.slice('Range: '.length)])
  expectRefused(await watched.send(get(`Range: bytes=${'0-0,'.repeat(5000)}0-0`)), 431)
})
