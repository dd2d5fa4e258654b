import { connect, type Socket } from 'node:net'
import { afterEach, expect, test } from 'vitest'
import { eventually } from '../testing/edge.ts'
import { readMessages } from '../testing/messages.ts'
import { get } from './client-bytes.ts'
import { startWatchedEdge, type WatchedEdge } from './watched-edge.ts'

let watched: WatchedEdge | undefined
const clients: Client[] = []
afterEach(async () => {
  for (const { socket } of clients.splice(0)) socket.destroy()
  await watched?.close()
})

type Client = { socket: Socket; received: string; isClosed: boolean }

/** One connection from `address`, which any of 127.0.0.0/8 may be. */
function dial(port: number, address: string, bytes = ''): Client {
  const socket = connect({ port, host: '127.0.0.1', localAddress: address })
  const client = { socket, received: '', isClosed: false }
  clients.push(client)
  socket.setEncoding('latin1').on('data', (text: string) => (client.received += text))
  socket.on('error', () => undefined).once('close', () => (client.isClosed = true))
  if (bytes !== '') socket.write(bytes, 'latin1')
  return client
}

const requestsAt = ({ origin }: WatchedEdge) =>
  origin.connections.flatMap(({ received }) => readMessages(received).messages).map(({ start }) => start)

test('one client has so many connections and no more, whatever it says on them, and others are served (case 70)', async () => {
  const most = 20
  const asked = get('A: b', '/greedy')
  watched = await startWatchedEdge({ env: { BERTH_ROUTER_MAX_CONNECTIONS_PER_CLIENT: String(most) } })
  const { port } = watched.edge
  const held = Array.from({ length: most }, () => dial(port, '127.0.0.1', 'GET /held'))
  const beyond = Array.from({ length: 200 }, () => dial(port, '127.0.0.1', asked))
  await eventually(() => beyond.every(({ isClosed }) => isClosed))
  expect(beyond.map(({ received }) => received).join('')).toBe('')
  expect(held.filter(({ isClosed }) => isClosed)).toEqual([])
  const other = dial(port, '127.0.0.2', get('A: b', '/other'))
  await eventually(() => other.isClosed)
  expect(other.received).toMatch(/^HTTP\/1\.1 200 OK\r\n/)
  expect(requestsAt(watched)).toEqual(['GET /other HTTP/1.1'])

  // A place that is free again is somebody’s.
  held[0]?.socket.destroy()
  const later = await eventually(async () => {
    const client = dial(port, '127.0.0.1', asked)
    await eventually(() => client.isClosed)
    return client.received !== '' && client
  })
  expect(later.received).toMatch(/^HTTP\/1\.1 200 OK\r\n/)
})

test('all clients together have so many connections and no more (case 70)', async () => {
  watched = await startWatchedEdge({ env: { BERTH_ROUTER_MAX_CONNECTIONS: '20' } })
  const { port } = watched.edge
  const held = Array.from({ length: 20 }, (_, i) => dial(port, `127.0.1.${i + 1}`, 'GET /held'))
  const beyond = Array.from({ length: 20 }, (_, i) => dial(port, `127.0.2.${i + 1}`, get()))
  await eventually(() => beyond.every(({ isClosed }) => isClosed))
  expect(beyond.map(({ received }) => received).join('')).toBe('')
  expect(held.filter(({ isClosed }) => isClosed)).toEqual([])
  expect(requestsAt(watched)).toEqual([])
})
