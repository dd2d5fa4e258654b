import { connect, type Socket } from 'node:net'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { ask, eventually } from '../testing/edge.ts'
import { readMessages, valuesOf } from '../testing/messages.ts'
import { aReplica, aRevision } from '../testing/routes.ts'
import { get, host } from './client-bytes.ts'
import {
  arrivedIn,
  expectArrived,
  expectNeverWhole,
  expectRefusedOrArrived,
  namesIn,
  statusesIn,
} from './verdicts.ts'
import { startWatchedEdge, type WatchedEdge } from './watched-edge.ts'

/*
 * A tunnel is open when the replica has said 101 to a WebSocket, and not before. Until then everything is HTTP.
 */

let watched: WatchedEdge
const clients: Socket[] = []
beforeEach(async () => {
  watched = await startWatchedEdge()
})
afterEach(async () => {
  clients.splice(0).forEach((socket) => socket.destroy())
  await watched.close()
})

const wish = `GET /chat HTTP/1.1\r\n${host}Connection: Upgrade\r\nUpgrade: websocket\r\n\r\n`
const switching = 'HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n'
const smuggled = `GET /smuggled HTTP/1.1\r\n${host}\r\n`

/** A client that stays; `received` grows. */
function dial(bytes: string): { socket: Socket; received: () => string } {
  const socket = connect({ port: watched.edge.port, host: '127.0.0.1', noDelay: true })
  clients.push(socket)
  let received = ''
  socket.setEncoding('latin1')
  socket.on('data', (text: string) => {
    received += text
  })
  socket.on('error', () => undefined)
  socket.write(bytes, 'latin1')
  return { socket, received: () => received }
}

/** What the replica has got behind the head of the request for a tunnel. */
const behindHead = () =>
  watched.origin.connections.map(({ received }) => received.split('\r\n\r\n').slice(1).join('\r\n\r\n'))

describe('an upgrade with a body', () => {
  test.each([
    ['a length', `Content-Length: ${smuggled.length}`, smuggled],
    ['chunks', 'Transfer-Encoding: chunked', `${smuggled.length.toString(16)}\r\n${smuggled}\r\n0\r\n\r\n`],
  ])('with %s stays HTTP, and the body a body (case 27)', async (_what, framing, body) => {
    const head = `GET / HTTP/1.1\r\n${host}Connection: Upgrade, close\r\nUpgrade: websocket\r\n${framing}\r\n\r\n`
    const seen = await watched.send(head + body)
    expectArrived(seen, ['GET /', smuggled])
    expect(namesIn(seen)).not.toContain('upgrade')
  })

  test('and 101 of the replica for it is no tunnel (case 27)', async () => {
    watched.answer = () => switching
    const head = `GET / HTTP/1.1\r\n${host}Connection: Upgrade, close\r\nUpgrade: websocket\r\nContent-Length: 5\r\n\r\n`
    const seen = await watched.send(`${head}hello${smuggled}`)
    expect(statusesIn(seen)).toEqual([502])
    expect(arrivedIn(seen)).toEqual([['GET /', 'hello']])
    expect(seen.unfinished).toEqual([])
  })
})

test.each([
  [
    'h2c',
    'Connection: Upgrade, HTTP2-Settings, close\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA',
  ],
  ['h2c, without naming its settings', 'Connection: Upgrade, close\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMA'],
  ['h2c beside WebSocket', 'Connection: Upgrade, close\r\nUpgrade: h2c, websocket\r\nHTTP2-Settings: AAMA'],
  ['h2', 'Connection: Upgrade, close\r\nUpgrade: h2'],
  ['TLS', 'Connection: Upgrade, close\r\nUpgrade: TLS/1.0, HTTP/1.1'],
])('an upgrade to %s stays plain HTTP, and the app does not hear of it (case 63)', async (_what, fields) => {
  const preface = 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n'
  const seen = await watched.send(`GET / HTTP/1.1\r\n${host}${fields}\r\n\r\n${preface}`)
  expectArrived(seen, ['GET /'])
  expect(namesIn(seen).filter((name) => /upgrade|http2-settings|^connection$/.test(name))).toEqual([])
})

describe('an upgrade that the replica does not agree to', () => {
  test.each([
    ['200', 'HTTP/1.1 200 OK'],
    ['404', 'HTTP/1.1 404 Not Found'],
    ['426', 'HTTP/1.1 426 Upgrade Required'],
    ['503', 'HTTP/1.1 503 Service Unavailable'],
  ])('with %s stays HTTP: what is behind it is no part of a tunnel (case 64)', async (status, line) => {
    watched.answer = () => `${line}\r\nContent-Length: 2\r\n\r\nno`
    const seen = await watched.send([wish, smuggled])
    expect(statusesIn(seen)[0]).toBe(Number(status))
    expect(seen.answers[0]?.body).toBe('no')
    expect(seen.answers[0] && valuesOf(seen.answers[0], 'connection').join()).toMatch(/close/i)
    expect(arrivedIn(seen)).toEqual([['GET /chat', '']])
    expect(seen.unfinished).toEqual([])
    expect(seen.closed).toBe(true)
  })

  test('because it speaks of another protocol is 502 (case 64)', async () => {
    watched.answer = () => switching.replace('websocket', 'h2c')
    const seen = await watched.send([wish, smuggled])
    expect(statusesIn(seen)).toEqual([502])
    expect(arrivedIn(seen)).toEqual([['GET /chat', '']])
    expect(seen.unfinished).toEqual([])
  })

  test('in a second answer behind the first one gets no tunnel (case 64)', async () => {
    watched.answer = () => `HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nno${switching}evil`
    const seen = await watched.send([wish, smuggled])
    expect(statusesIn(seen)).toEqual([200])
    expect(seen.received).not.toContain('evil')
    expect(arrivedIn(seen)).toEqual([['GET /chat', '']])
  })
})

describe('what a client says before the 101', () => {
  test('waits for it, and is delivered behind the head once (case 65)', async () => {
    const agree = Promise.withResolvers<void>()
    watched.answer = (_request, { socket }) => {
      void agree.promise.then(() => socket.write(switching))
      return ''
    }
    const early = '\x81\x85\x01\x02\x03\x04hello'
    const { socket, received } = dial(wish + early)
    await eventually(() => watched.origin.connections[0]?.received.includes('\r\n\r\n'))
    socket.write('later', 'latin1')
    // Long enough for it to arrive, if it were passed on.
    await new Promise((resolve) => {
      setTimeout(resolve, 50)
    })
    expect(behindHead()).toEqual([''])
    agree.resolve()
    await eventually(() => behindHead()[0] === `${early}later`)
    expect(readMessages(received()).messages.map(({ start }) => start)).toEqual([
      'HTTP/1.1 101 Switching Protocols',
    ])
  })

  test('is a request again when it comes behind a plain one (case 65)', async () => {
    expectArrived(
      await watched.send(get().replace('Connection: close\r\n', '') + get('A: b', '/next')),
      ['GET /'],
      ['GET /next'],
    )
  })
})

test.each([
  ['is not named in Connection', 'Connection: close\r\nUpgrade: websocket'],
  ['has no Connection beside it', 'Upgrade: websocket'],
  ['is named in Connection and missing', 'Connection: Upgrade'],
  ['is named by a longer word', 'Connection: upgrades\r\nUpgrade: websocket'],
  ['is a POST', 'Connection: Upgrade, close\r\nUpgrade: websocket', 'POST'],
])('an upgrade that %s is none (case 66)', async (_what, fields, method = 'GET') => {
  const bytes = `${method} / HTTP/1.1\r\n${host}${fields}\r\n\r\n${get('A: b', '/next')}`
  const seen = await watched.send(bytes)
  expect(namesIn(seen)).not.toContain('upgrade')
  if (!fields.includes('close')) expectArrived(seen, [`${method} /`], ['GET /next'])
  else expectArrived(seen, [`${method} /`])
})

test.each([
  ['to h2c', 'GET', 'h2c'],
  ['of a POST', 'POST', 'websocket'],
  ['to TLS', 'OPTIONS', 'TLS/1.0'],
])(
  'behind an upgrade %s, which is none, comes the next request (case 66)',
  async (_what, method, protocol) => {
    const first = `${method} / HTTP/1.1\r\n${host}Connection: Upgrade\r\nUpgrade: ${protocol}\r\n\r\n`
    const second = get('A: b', '/next')
    expectArrived(await watched.send([first, second]), [`${method} /`], ['GET /next'])
    expectArrived(await watched.send(first + second), [`${method} /`], ['GET /next'])
  },
)

test.each([
  ['junk', 'NOT HTTP\r\n\r\n'],
  ['a malformed head', `GET /next HTTP/1.1\r\n${host}A : b\r\n\r\n`],
  ['a head that is too large', `GET /next HTTP/1.1\r\n${host}A: ${'b'.repeat(20_000)}\r\n\r\n`],
])('%s behind an upgrade that is none ends the connection (case 66)', async (_what, junk) => {
  const first = `GET / HTTP/1.1\r\n${host}Connection: Upgrade\r\nUpgrade: h2c\r\n\r\n`
  for (const pieces of [[first, junk], first + junk]) {
    const seen = await watched.send(pieces)
    expect(arrivedIn(seen)).toEqual([['GET /', '']])
    expect(seen.unfinished).toEqual([])
    expect(statusesIn(seen)[0]).toBe(200)
    expect(
      statusesIn(seen)
        .slice(1)
        .filter((status) => status < 400),
    ).toEqual([])
    expect(seen.closed).toBe(true)
  }
})

test('a malformed body of an upgrade that is none never becomes a request (case 27)', async () => {
  const head = `POST / HTTP/1.1\r\n${host}Connection: Upgrade\r\nUpgrade: websocket\r\n`
  const seen = await watched.send(
    `${head}Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n-1\r\nhello\r\n0\r\n\r\n`,
  )
  expectNeverWhole(seen, 400)
})

test('an upgrade behind another request stays HTTP, and both are answered (case 66)', async () => {
  const plain = `GET / HTTP/1.1\r\n${host}\r\n`
  const seen = await watched.send(plain + wish.replace('Upgrade\r\n', 'Upgrade, close\r\n'))
  expectArrived(seen, ['GET /'], ['GET /chat'])
  expect(namesIn(seen)).not.toContain('upgrade')
})

test('an upgrade in HTTP/1.0 opens no tunnel (case 66)', async () => {
  expectRefusedOrArrived(await watched.send(wish.replace('HTTP/1.1', 'HTTP/1.0')), 'GET /chat')
})

describe('inside of a tunnel', () => {
  const frame = (first: number, payload: string) =>
    `${String.fromCharCode(first, 0x80 | payload.length)}\0\0\0\0${payload}`

  test('a flood of pings, a fragmented control frame and reserved bits pass byte for byte (case 67)', async () => {
    watched.answer = () => switching
    const { socket, received } = dial(wish)
    await eventually(() => received().endsWith('\r\n\r\n'))
    const odd = frame(0x09, 'half') + frame(0x80, 'of it') + frame(0xf2, 'reserved') + frame(0x83, 'unknown')
    const bytes = frame(0x89, 'ping').repeat(10_000) + odd
    socket.write(bytes, 'latin1')
    await eventually(() => (behindHead()[0]?.length ?? 0) >= bytes.length)
    expect(behindHead()[0] === bytes).toBe(true)
    watched.origin.connections[0]?.socket.write('\x89\x04pong')
    await eventually(() => received().endsWith('\x89\x04pong'))
  })

  test('a message of 1 GiB that the app does not read is not kept here: its client has to wait (case 67)', async () => {
    watched.answer = (_request, { socket }) => {
      socket.pause()
      return switching
    }
    const { socket, received } = dial(wish)
    await eventually(() => received().endsWith('\r\n\r\n'))
    // A text of 1 GiB: its head, and as much of it as anybody takes.
    socket.write('\x82\xff\0\0\0\0\x40\0\0\0\0\0\0\0', 'latin1')
    const piece = Buffer.alloc(1024 * 1024)
    let taken = 0
    const fill = (): void => {
      taken += piece.length
      if (taken < 256 * piece.length) socket.write(piece, fill)
    }
    fill()
    let before = -1
    await eventually(async () => {
      if (taken === before) return true
      before = taken
      await new Promise((resolve) => {
        setTimeout(resolve, 200)
      })
      return false
    })
    // What the kernel takes on two connections, and little more.
    expect(taken).toBeLessThan(64 * piece.length)
  })

  test('an idle one keeps its slot, which others hear of, and ends at the request timeout (case 67)', async () => {
    const { uid } = aRevision()
    const replicas = [aReplica('r1', watched.origin.port)]
    const limits = { concurrency: 1, atMaxScale: true, queueDeadlineMs: 100, timeoutMs: 1000 }
    const { version } = watched.edge.change(aRevision({ uid, replicas, ...limits }))
    await eventually(() => watched.edge.leader.last('acknowledge')?.version.sequence === version.sequence)
    watched.answer = () => switching
    const { socket, received } = dial(wish)
    await eventually(() => received().endsWith('\r\n\r\n'))
    expect((await ask({ port: watched.edge.port })).status).toBe(429)
    expect(watched.origin.connections).toHaveLength(1)
    await eventually(() => socket.closed && watched.origin.connections[0]?.closed)
    watched.answer = () => 'HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok'
    expect((await ask({ port: watched.edge.port })).status).toBe(200)
  })
})
