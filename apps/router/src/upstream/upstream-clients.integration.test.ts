import { once } from 'node:events'
import { Readable } from 'node:stream'
import fc from 'fast-check'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { anAnswerInPieces } from '../testing/answers.ts'
import { eventually } from '../testing/edge.ts'
import {
  isWholeRequest,
  startRawOrigin,
  type OriginConnection,
  type RawOrigin,
} from '../testing/raw-origin.ts'
import { aReplica } from '../testing/routes.ts'
import { send, type Told } from '../testing/told.ts'
import { loadUpstreamClient, upstreamClients, type OpenUpstream } from './upstream-client.ts'
import type { Upstream, UpstreamRequest } from './upstream.ts'

/*
 * Both clients are given the same requests and the same answers, and have to say the same. Where they may differ, the
 * case names it.
 */

const ok = 'HTTP/1.1 200 OK\r\n'
const well = `${ok}Content-Length: 4\r\n\r\nwell`
const chunked = `${ok}Transfer-Encoding: chunked\r\n\r\n`

let origin: RawOrigin
let upstream: Upstream
/** What the origin does with bytes. */
let onBytes: (connection: OriginConnection) => void

beforeEach(async () => {
  onBytes = answering(well)
  origin = await startRawOrigin((connection) => onBytes(connection))
})
afterEach(async () => {
  await upstream.close()
  await origin.close()
})

/** Answers every whole request with `bytes`, then does as told with the connection. */
function answering(bytes: string, ending: 'stay' | 'close' | 'reset' = 'stay') {
  return (connection: OriginConnection): void => {
    if (!isWholeRequest(connection.received)) return
    connection.received = ''
    const { socket } = connection
    if (ending === 'close') socket.end(bytes, 'latin1')
    else socket.write(bytes, 'latin1')
    if (ending === 'reset') setTimeout(() => socket.resetAndDestroy(), 50)
  }
}

const stream = (...chunks: string[]) => Readable.from(chunks.map((chunk) => Buffer.from(chunk)))
/** Gives what it has and then nothing more. */
const stalled = (...chunks: string[]) => {
  const body = new Readable({ read: () => undefined })
  for (const chunk of chunks) body.push(chunk)
  return body
}

type Case = {
  request?: () => Partial<UpstreamRequest>
  answer: string
  ending?: 'stay' | 'close' | 'reset'
  told: Partial<Told>
  /** The next request finds the connection. */
  reused?: boolean
  /** What the reference says instead, where it is less strict or names it otherwise. */
  undici?: { told?: Partial<Told>; reused?: boolean }
}

const died = { end: 'died', written: true, received: true } as const
const noHttp = { end: 'protocol', written: true, received: true } as const

const cases: Record<string, Case> = {
  'a length': {
    answer: well,
    told: { status: 200, headers: ['Content-Length', '4'], body: 'well', trailers: [], end: 'complete' },
    reused: true,
  },
  'chunks and trailers': {
    answer: `${chunked}2;a=b\r\nwe\r\n2\r\nll\r\n0\r\nSum: 1\r\n\r\n`,
    told: { body: 'well', trailers: ['Sum', '1'], end: 'complete' },
    reused: true,
  },
  'a body that the end of the connection ends': {
    answer: `${ok}\r\nwell`,
    ending: 'close',
    told: { status: 200, body: 'well', end: 'complete' },
  },
  'a body without length, and a reset': {
    answer: `${ok}\r\nwell`,
    ending: 'reset',
    told: { ...died, status: 200, body: 'well' },
  },
  'a length, and the end before it': {
    answer: `${ok}Content-Length: 10\r\n\r\nwell`,
    ending: 'close',
    told: { ...died, status: 200, body: 'well' },
  },
  'chunks, and the end before the last': {
    answer: `${chunked}4\r\nwell\r\n`,
    ending: 'close',
    told: { ...died, status: 200, body: 'well' },
  },
  'half a head': { answer: `${ok}A: `, ending: 'close', told: died },
  'nothing, and the end': { answer: '', ending: 'close', told: { ...died, received: false } },
  'nothing, and a reset': { answer: '', ending: 'reset', told: { ...died, received: false } },
  'Connection: close': {
    answer: `${ok}Connection: close\r\nContent-Length: 4\r\n\r\nwell`,
    told: { body: 'well', end: 'complete' },
  },
  'Keep-Alive with less time than it takes to ask': {
    answer: `${ok}Keep-Alive: timeout=1\r\nContent-Length: 4\r\n\r\nwell`,
    told: { body: 'well', end: 'complete' },
  },
  'HTTP/1.0': {
    answer: 'HTTP/1.0 200 OK\r\nContent-Length: 4\r\n\r\nwell',
    told: { body: 'well', end: 'complete' },
  },
  'early hints first': {
    answer: `HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n${well}`,
    told: { status: 200, headers: ['Content-Length', '4'], body: 'well', end: 'complete' },
    reused: true,
  },
  '100 that nobody asked for first': {
    answer: `HTTP/1.1 100 Continue\r\n\r\n${well}`,
    told: { status: 200, body: 'well', end: 'complete' },
    reused: true,
    undici: { told: noHttp, reused: false },
  },
  'a flood of informational answers': { answer: 'HTTP/1.1 102 Processing\r\n\r\n'.repeat(50), told: noHttp },
  'an answer to HEAD': {
    request: () => ({ method: 'HEAD' }),
    answer: `${ok}Content-Length: 4\r\n\r\n`,
    told: { status: 200, headers: ['Content-Length', '4'], body: '', end: 'complete' },
    reused: true,
    // It keeps a connection after HEAD only where the replica says keep-alive.
    undici: { reused: false },
  },
  'an answer to HEAD with a body': {
    request: () => ({ method: 'HEAD' }),
    answer: well,
    told: { status: 200, body: '', end: 'complete' },
  },
  '204': {
    answer: 'HTTP/1.1 204 No Content\r\n\r\n',
    told: { status: 204, body: '', end: 'complete' },
    reused: true,
  },
  '204 with a body': {
    answer: 'HTTP/1.1 204 No Content\r\nContent-Length: 4\r\n\r\nwell',
    told: { status: 204, body: '', end: 'complete' },
  },
  '304': {
    answer: 'HTTP/1.1 304 Not Modified\r\n\r\n',
    told: { status: 304, body: '', end: 'complete' },
    reused: true,
  },
  'a second answer behind the first': {
    answer: `${well}${ok}Content-Length: 4\r\n\r\nevil`,
    told: { body: 'well', end: 'complete' },
  },
  'two framings': {
    answer: `${ok}Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\nwell`,
    told: noHttp,
  },
  'two lengths': { answer: `${ok}Content-Length: 4\r\nContent-Length: 5\r\n\r\nwell`, told: noHttp },
  'a length that is none': { answer: `${ok}Content-Length: +4\r\n\r\nwell`, told: noHttp },
  'a transfer coding that is not chunked': {
    answer: `${ok}Transfer-Encoding: gzip, identity\r\n\r\nwell`,
    ending: 'close',
    told: noHttp,
    undici: { told: { end: 'complete' } },
  },
  'a folded line': { answer: `${ok}A: b\r\n c\r\nContent-Length: 4\r\n\r\nwell`, told: noHttp },
  'LF alone': { answer: `HTTP/1.1 200 OK\nContent-Length: 4\n\nwell`, told: noHttp },
  'a NUL': { answer: `${ok}A: \0\r\nContent-Length: 4\r\n\r\nwell`, told: noHttp },
  'a chunk size that is none': { answer: `${chunked}0x4\r\nwell\r\n`, told: { ...noHttp, status: 200 } },
  'a head of 40 KiB': { answer: `${ok}A: ${'a'.repeat(40_000)}\r\n\r\n`, told: noHttp },
  'no HTTP': { answer: 'SSH-2.0-OpenSSH_9.2\r\n', told: noHttp },
  '101 that nobody asked for': {
    answer: 'HTTP/1.1 101 Hi\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n',
    told: noHttp,
  },
  'a body for POST': {
    request: () => ({
      method: 'POST',
      headers: ['Host', 'a', 'Content-Length', '4'],
      body: stream('wa', 'it'),
    }),
    answer: well,
    told: { status: 200, body: 'well', end: 'complete' },
    reused: true,
  },
  'a body in chunks for PUT': {
    request: () => ({ method: 'PUT', body: stream('wa', 'it') }),
    answer: well,
    told: { status: 200, body: 'well', end: 'complete' },
    reused: true,
  },
  'a body where none is expected': {
    request: () => ({ method: 'DELETE', body: stream('wait') }),
    answer: well,
    told: { status: 200, body: 'well', end: 'complete' },
  },
}

/** Nothing of one test's pool is left for the next. */
function openAt(open: OpenUpstream, concurrency: number): void {
  upstream = open(aReplica('r1', origin.port), concurrency)
}

describe.each(upstreamClients)('client %s', (client) => {
  let open: OpenUpstream
  beforeEach(async () => {
    open = await loadUpstreamClient(client)
    openAt(open, 1)
  })

  test.each(Object.entries(cases))('%s', async (_what, { request, answer, ending, ...expected }) => {
    const other = client === 'undici' ? expected.undici : undefined
    onBytes = answering(answer, ending)
    expect(await send(upstream, request?.()).over).toMatchObject(other?.told ?? expected.told)
    onBytes = answering(well)
    // Whatever it was, the next request gets its own answer, in the end.
    await eventually(async () => (await send(upstream).over).body === 'well')
    expect(origin.connections.length === 1).toBe(other?.reused ?? expected.reused ?? false)
  })

  test('a request arrives with its headers as they are and exactly one framing', async () => {
    const received: string[] = []
    onBytes = (connection) => {
      if (isWholeRequest(connection.received)) received.push(connection.received)
      answering(well)(connection)
    }
    const headers = ['Host', 'a', 'X-A', '1', 'x-a', '\xe4']
    await send(upstream, { method: 'POST', path: '/%00?q', headers, body: stream('wa', 'it') }).over
    await send(upstream, { method: 'POST', headers: ['Host', 'a'] }).over
    await send(upstream, { method: 'GET', headers: ['Host', 'a'] }).over
    const said = received.map((bytes) => bytes.replace('connection: keep-alive\r\n', '').toLowerCase())
    expect(said[0]).toMatch(
      /^post \/%00\?q http\/1.1\r\nhost: a\r\nx-a: 1\r\nx-a: \xe4\r\ntransfer-encoding: chunked\r\n\r\n2\r\nwa\r\n2\r\nit\r\n0\r\n\r\n$/,
    )
    expect(said[1]).toBe('post / http/1.1\r\nhost: a\r\ncontent-length: 0\r\n\r\n')
    expect(said[2]).toBe('get / http/1.1\r\nhost: a\r\n\r\n')
  })

  test('no header can end the head before its time', async () => {
    const told = await send(upstream, { headers: ['Host', 'a', 'X', 'a\r\n\r\nGET /evil HTTP/1.1'] }).over
    expect(told).toMatchObject({ written: false, received: false })
    expect(origin.connections.map(({ received }) => received).join('')).toBe('')
  })

  test('an answer that is complete before the body is ends both, and the answer is whole', async () => {
    onBytes = ({ socket }) => socket.write(`HTTP/1.1 413 No\r\nContent-Length: 4\r\n\r\nwell`)
    const body = stalled('some of it')
    const told = await send(upstream, { method: 'POST', body }).over
    expect(told).toMatchObject({ status: 413, body: 'well', end: 'complete' })
    expect(await send(upstream).over).toMatchObject({ status: 413, end: 'complete' })
    expect(origin.connections).toHaveLength(2)
    await eventually(() => origin.connections[0]?.closed && body.destroyed)
  })

  test('a body that ends early is never a whole request', async () => {
    onBytes = () => undefined
    const body = stalled('some of it')
    const sent = send(upstream, { method: 'POST', body })
    await eventually(() => origin.connections[0]?.received.includes('some of it'))
    body.destroy(new Error('the client is gone'))
    expect(await sent.over).toMatchObject({ end: 'died', written: true, received: false })
    await eventually(() => origin.connections[0]?.closed)
    expect(isWholeRequest(origin.connections[0]?.received ?? '')).toBe(false)
  })

  test('a connection that dies when it is used again is a death without an answer', async () => {
    await send(upstream).over
    onBytes = ({ socket }) => socket.resetAndDestroy()
    expect(await send(upstream).over).toMatchObject({ end: 'died', written: true, received: false })
  })

  test('bytes on an idle connection end it and are nobody’s answer', async () => {
    await send(upstream).over
    origin.connections[0]?.socket.write(`${ok}Content-Length: 4\r\n\r\nevil`)
    await eventually(() => origin.connections[0]?.closed)
    expect(await send(upstream).over).toMatchObject({ body: 'well', end: 'complete' })
    expect(origin.connections).toHaveLength(2)
  })

  test('a place where nobody listens is no connection', async () => {
    await origin.close()
    expect(await send(upstream).over).toMatchObject({ end: 'connect', written: false, received: false })
  })

  test('more requests than connections wait for one, and all are served', async () => {
    openAt(open, 3)
    const sent = await Promise.all(Array.from({ length: 20 }, () => send(upstream).over))
    expect(sent.every(({ body }) => body === 'well')).toBe(true)
    expect(origin.connections).toHaveLength(3)
  })

  test('who waits for a connection can leave, and takes none', async () => {
    onBytes = () => undefined
    const first = send(upstream)
    await eventually(() => Boolean(origin.connections[0]?.received))
    send(upstream, { path: '/second' }).call.abort()
    const third = send(upstream, { path: '/third' })
    const asked: string[] = []
    onBytes = (connection) => {
      asked.push(connection.received.split(' ')[1] ?? '')
      answering(well)(connection)
    }
    first.call.abort()
    expect(await third.over).toMatchObject({ body: 'well' })
    expect(asked).toEqual(['/third'])
  })

  test('an answer is taken no faster than it is asked for', async () => {
    const size = 64 * 1024 * 1024
    onBytes = ({ socket }) => {
      socket.write(`${ok}Content-Length: ${size}\r\n\r\n`)
      socket.write(Buffer.alloc(size))
    }
    let taken = 0
    let isSlow = true
    const sent = send(upstream, {}, (chunk) => {
      taken += chunk.length
      return !isSlow
    })
    await eventually(() => taken > 0)
    await new Promise((resolve) => {
      setTimeout(resolve, 300)
    })
    expect(origin.connections[0]?.socket.writableLength).toBeGreaterThan(size / 2)
    expect(taken).toBeLessThan(size / 2)
    isSlow = false
    sent.call.resume()
    expect(await sent.over).toMatchObject({ end: 'complete' })
    expect(taken).toBe(size)
  })

  test('a body is read no faster than the replica takes it', async () => {
    let given = 0
    const body = new Readable({
      read() {
        given += 64 * 1024
        this.push(given > 64 * 1024 * 1024 ? null : Buffer.alloc(64 * 1024))
      },
    })
    onBytes = ({ socket }) => socket.pause()
    send(upstream, { method: 'POST', body })
    await eventually(() => Boolean(origin.connections[0]?.received))
    await new Promise((resolve) => {
      setTimeout(resolve, 300)
    })
    expect(given).toBeLessThan(32 * 1024 * 1024)
    onBytes = () => undefined
    origin.connections[0]?.socket.resume()
    await eventually(() => given > 64 * 1024 * 1024)
  })

  test('a call that is given up ends its connection and hears nothing more', async () => {
    onBytes = ({ socket }) => socket.write(`${ok}Content-Length: 10\r\n\r\nwell`)
    const sent = send(upstream)
    await eventually(() => sent.told.body === 'well')
    sent.call.abort()
    await eventually(() => origin.connections[0]?.closed)
    expect(sent.told.end).toBe('open')
    sent.call.abort()
    sent.call.breakOff('again')
    onBytes = answering(well)
    expect(await send(upstream).over).toMatchObject({ body: 'well' })
  })

  test('a call can be given up from within its answer', async () => {
    onBytes = answering(`${chunked}1\r\na\r\n1\r\nb\r\n0\r\n\r\n`)
    const sent = send(upstream, {}, (_chunk, call) => {
      call().abort()
      return false
    })
    await eventually(() => origin.connections[0]?.closed)
    expect(sent.told).toMatchObject({ body: 'a', end: 'open' })
  })

  test('a call that is broken off hears that it died', async () => {
    onBytes = () => undefined
    const sent = send(upstream)
    await eventually(() => Boolean(origin.connections[0]?.received))
    sent.call.breakOff('its node is down')
    expect(await sent.over).toMatchObject({ end: 'died', written: true, received: false })
    await eventually(() => origin.connections[0]?.closed)
  })

  test('a switch to WebSocket hands the socket over, with what was said at once', async () => {
    onBytes = (connection) => {
      if (!isWholeRequest(connection.received)) return
      expect(connection.received).toMatch(/\r\nconnection: upgrade\r\nupgrade: websocket\r\n/i)
      onBytes = ({ socket, received }) => socket.write(received.slice(-4))
      connection.socket.write(
        'HTTP/1.1 101 Hi\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nA: b\r\n\r\nahoy',
      )
    }
    const sent = send(upstream, { upgrade: true })
    const socket = await sent.socket
    expect(sent.told).toMatchObject({ end: 'upgraded', headers: expect.arrayContaining(['A', 'b']) })
    let heard = ''
    socket.on('data', (chunk: Buffer) => {
      heard += chunk.toString()
    })
    socket.resume()
    socket.write('echo')
    await eventually(() => heard === 'ahoyecho')
    socket.destroy()
    onBytes = answering(well)
    expect(await send(upstream).over).toMatchObject({ body: 'well' })
  })

  test('a wish to switch that is refused is an answer', async () => {
    const told = await send(upstream, { upgrade: true }).over
    expect(told).toMatchObject({ status: 200, body: 'well', end: 'complete' })
  })

  test('an idle connection is closed before an app would', async () => {
    await send(upstream).over
    const { socket } = origin.connections[0] ?? {}
    const since = performance.now()
    await once(socket ?? process, 'close')
    expect(performance.now() - since).toBeGreaterThan(1000)
  })

  test('closing breaks off what is under way and resolves when every socket is closed', async () => {
    openAt(open, 2)
    onBytes = (connection) => {
      if (connection.received.includes('/answers')) answering(well)(connection)
    }
    await send(upstream, { path: '/answers' }).over
    const hanging = [send(upstream, { path: '/hangs' }), send(upstream, { path: '/hangs' })]
    const waiting = send(upstream, { path: '/waits' })
    await eventually(
      () => origin.connections.filter(({ received }) => received.includes('/hangs')).length === 2,
    )
    await upstream.close()
    for (const { over } of hanging) expect(await over).toMatchObject({ end: 'died', written: true })
    expect(await waiting.over).toMatchObject({ end: 'connect', written: false })
    expect(await send(upstream).over).toMatchObject({ end: 'connect', written: false })
    await eventually(() => origin.connections.every(({ closed }) => closed))
  })
})

/** Where the reference takes an answer for another one, and on purpose. */
const differences = [
  // A 100 that nobody asked for: the reference refuses what RFC 9110, 15.2 has a client ignore.
  (bytes: string) => bytes.includes(' 100 '),
  // A blank behind a value: the reference takes it for a part of the value (RFC 9110, 5.5 says it is none).
  (bytes: string) => /[\t ]\r\n/.test(bytes),
]

test('any answer in any pieces that our client takes whole is the same one to the reference', async () => {
  const ours = await loadUpstreamClient('own')
  const reference = await loadUpstreamClient('undici')
  let pieces: string[] = []
  onBytes = ({ socket }) => {
    for (const piece of pieces) if (piece !== '') socket.write(piece, 'latin1')
    socket.end()
  }
  async function toldBy(open: OpenUpstream): Promise<Told> {
    openAt(open, 1)
    const told = await send(upstream).over
    await upstream.close()
    return told
  }
  await fc.assert(
    fc.asyncProperty(anAnswerInPieces, async (answer) => {
      pieces = answer.pieces
      const told = await toldBy(ours)
      if (told.end !== 'complete' || differences.some((differs) => differs(answer.bytes))) return
      expect(await toldBy(reference)).toEqual(told)
    }),
    { numRuns: 500, seed: 9112 },
  )
})
