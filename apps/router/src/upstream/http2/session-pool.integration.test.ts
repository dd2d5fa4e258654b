import { constants, type ServerHttp2Stream } from 'node:http2'
import { Readable } from 'node:stream'
import { afterEach, describe, expect, test } from 'vitest'
import { eventually } from '../../testing/edge.ts'
import { startHttp2App, type Http2App } from '../../testing/http2-app.ts'
import { flags, frame, frameTypes, headerBlock } from '../../testing/http2-frames.ts'
import { startRawOrigin } from '../../testing/raw-origin.ts'
import { aReplica } from '../../testing/routes.ts'
import { send } from '../../testing/told.ts'
import type { Upstream } from '../upstream.ts'
import { openSessionPool } from './session-pool.ts'

const endings: (() => Promise<unknown> | void)[] = []
const atEnd = (ending: () => Promise<unknown> | void) => endings.push(ending)
afterEach(async () => {
  for (const ending of endings.splice(0).reverse()) await ending()
})

function poolTo(port: number): Upstream {
  const pool = openSessionPool(aReplica('r1', port))
  atEnd(() => pool.close())
  return pool
}

async function appOf(...app: Parameters<typeof startHttp2App>): Promise<{ app: Http2App; pool: Upstream }> {
  const started = await startHttp2App(...app)
  atEnd(() => started.close())
  return { app: started, pool: poolTo(started.port) }
}

/** A replica that answers the head of the first request on a connection with its settings and whatever it likes. */
async function rawReplica(...answers: Buffer[]): Promise<Upstream> {
  const answered = new WeakSet<object>()
  const origin = await startRawOrigin((connection) => {
    if (answered.has(connection) || !hasRequest(Buffer.from(connection.received, 'latin1'))) return
    answered.add(connection)
    connection.socket.write(Buffer.concat([settings, settingsSeen, ...answers]))
  })
  atEnd(() => origin.close())
  return poolTo(origin.port)
}

const settings = frame(frameTypes.settings, 0, 0)
const settingsSeen = frame(frameTypes.settings, flags.acknowledge, 0)
const prefaceBytes = 24
const frameHeadBytes = 9

function hasRequest(bytes: Buffer): boolean {
  for (let at = prefaceBytes; at + frameHeadBytes <= bytes.length;) {
    const end = at + frameHeadBytes + bytes.readUIntBE(at, 3)
    if (bytes[at + 3] === frameTypes.headers) return end <= bytes.length
    at = end
  }
  return false
}

const body = (...chunks: string[]) => Readable.from(chunks.map((chunk) => Buffer.from(chunk)))
const answer = (fields: [string, string][], flag: number = flags.endHeaders) =>
  frame(frameTypes.headers, flag, 1, headerBlock(fields))
const data = (text: string, flag = 0) => frame(frameTypes.data, flag, 1, Buffer.from(text))
const reset = (code: number) => frame(frameTypes.resetStream, 0, 1, Buffer.from([0, 0, 0, code]))

describe('a request to a replica that speaks HTTP/2', () => {
  test('goes through with its body, and the answer comes with its trailers', async () => {
    let seen: unknown
    const { pool } = await appOf((stream, headers) => {
      seen = headers
      stream.respond({ ':status': 201, 'x-a': ['b', 'c'] }, { waitForTrailers: true })
      stream.on('wantTrailers', () => stream.sendTrailers({ sum: '1' }))
      stream.pipe(stream)
    })
    const { over } = send(pool, {
      method: 'POST',
      path: '/a?b',
      headers: ['Host', 'hello', 'X-Mine', 'c', 'te', 'trailers'],
      body: body('we', 'll'),
    })
    const told = await over
    expect(told).toMatchObject({ status: 201, body: 'well', trailers: ['sum', '1'], end: 'complete' })
    expect(told.headers).toEqual(expect.arrayContaining(['x-a', 'b', 'x-a', 'c']))
    expect(told.headers?.join()).not.toContain(':status')
    expect(seen).toMatchObject({
      ':method': 'POST',
      ':path': '/a?b',
      ':authority': 'hello',
      ':scheme': 'http',
      'x-mine': 'c',
      te: 'trailers',
    })
    expect(seen).not.toHaveProperty('host')
  })

  test('shares one connection with others, and opens a second one where the replica allows no more streams', async () => {
    const waiting: ServerHttp2Stream[] = []
    const { app, pool } = await appOf((stream) => waiting.push(stream), { maxConcurrentStreams: 2 })
    const first = [send(pool), send(pool)]
    await eventually(() => waiting.length === 2)
    expect(app.sessions.size).toBe(1)
    const third = send(pool)
    await eventually(() => waiting.length === 3)
    expect(app.sessions.size).toBe(2)
    for (const stream of waiting) stream.respond({ ':status': 204 }, { endStream: true })
    for (const { over } of [...first, third]) expect((await over).status).toBe(204)
  })

  test('is read as fast as its client takes it, and holds nobody else up', async () => {
    const { pool } = await appOf((stream) => {
      stream.respond()
      stream.end(Buffer.alloc(8 * 1024 * 1024, 'a'))
    })
    let taken = 0
    const slow = send(pool, {}, (chunk) => {
      taken += chunk.length
      return false
    })
    await eventually(() => taken > 0)
    for (let i = 0; i < 5; i += 1) expect((await send(pool).over).end).toBe('complete')
    expect(taken).toBeLessThan(128 * 1024)
    slow.call.abort()
  })

  test('that is taken back resets its stream and leaves the connection', async () => {
    let code: number | undefined
    const { app, pool } = await appOf((stream, { ':path': path }) => {
      if (path === '/') stream.once('close', () => (code = stream.rstCode))
      else stream.respond({ ':status': 204 }, { endStream: true })
    })
    const { call, told } = send(pool)
    await eventually(() => app.sessions.size === 1)
    await send(pool, { path: '/other' }).over
    call.abort()
    await eventually(() => code === constants.NGHTTP2_CANCEL)
    expect((await send(pool, { path: '/other' }).over).status).toBe(204)
    expect([told.end, app.sessions.size]).toEqual(['open', 1])
  })

  test('may be answered before all of it has come', async () => {
    const { pool } = await appOf((stream) => {
      stream.respond({ ':status': 413 })
      stream.end('too much')
    })
    const endless = new Readable({ read: () => undefined })
    endless.push('a beginning')
    const { over } = send(pool, { method: 'POST', body: endless })
    expect(await over).toMatchObject({ status: 413, body: 'too much', end: 'complete' })
    await eventually(() => endless.destroyed)
  })
})

describe('a failure says what the replica can have seen', () => {
  test('nobody listens', async () => {
    const { app, pool } = await appOf(() => undefined)
    await app.close()
    expect(await send(pool).over).toMatchObject({ end: 'connect', written: false, received: false })
  })

  test('a port that is none', async () => {
    expect(await send(poolTo(70_000)).over).toMatchObject({ end: 'connect', written: false })
  })

  test('the connection ends under it', async () => {
    const { app, pool } = await appOf(() => {
      for (const session of app.sessions) session.socket.destroy()
    })
    expect(await send(pool).over).toMatchObject({ end: 'died', written: true, received: false })
  })

  test('and in the middle of an answer', async () => {
    const { app, pool } = await appOf((stream) => {
      stream.respond()
      stream.write('a part')
      setTimeout(() => [...app.sessions][0]?.destroy(), 50)
    })
    expect(await send(pool).over).toMatchObject({
      status: 200,
      body: 'a part',
      end: 'died',
      written: true,
      received: true,
    })
  })

  test('a stream that is refused was never seen', async () => {
    const { pool } = await appOf((stream) => stream.close(constants.NGHTTP2_REFUSED_STREAM))
    expect(await send(pool).over).toMatchObject({ end: 'refused', written: false, received: false })
  })

  test('nor was one behind the last of a connection that goes away, and the next call has a new one', async () => {
    const lastIsNone = Buffer.from([0, 0, 0, 0, 0, 0, 0, 0])
    const pool = await rawReplica(frame(frameTypes.goaway, 0, 0, lastIsNone))
    expect(await send(pool).over).toMatchObject({ end: 'refused', written: false })
    expect(await send(pool).over).toMatchObject({ end: 'refused', written: false })
  })

  test('a connection that says good-bye finishes what it has begun, and the next call has a new one', async () => {
    let begun: ServerHttp2Stream | undefined
    const { app, pool } = await appOf((stream, { ':path': path }) => {
      if (path === '/other') return stream.respond({ ':status': 204 }, { endStream: true })
      begun = stream
      for (const session of app.sessions) session.goaway(constants.NGHTTP2_NO_ERROR, stream.id)
    })
    const first = send(pool)
    await eventually(() => begun)
    // Until the good-bye has come, calls go the old way and are refused.
    await eventually(async () => (await send(pool, { path: '/other' }).over).status === 204)
    expect([first.told.end, app.sessions.size]).toEqual(['open', 2])
    begun?.respond({ ':status': 204 }, { endStream: true })
    expect((await first.over).status).toBe(204)
  })

  test('a stream that is reset was seen, and the connection lives on', async () => {
    const { app, pool } = await appOf((stream, { ':path': path }) => {
      if (path === '/') stream.close(constants.NGHTTP2_INTERNAL_ERROR)
      else stream.respond({ ':status': 204 }, { endStream: true })
    })
    expect(await send(pool).over).toMatchObject({ end: 'refused', written: true, received: false })
    expect((await send(pool, { path: '/other' }).over).status).toBe(204)
    expect(app.sessions.size).toBe(1)
  })

  test('a request that is broken off here', async () => {
    const { pool } = await appOf(() => undefined)
    const { call, over } = send(pool)
    await new Promise((resolve) => {
      setTimeout(resolve, 100)
    })
    call.breakOff('the node is down')
    expect(await over).toMatchObject({ end: 'died', written: true })
  })

  test('a body that ends early never ends as if it were whole', async () => {
    const seen: string[] = []
    const { pool } = await appOf((stream) => {
      stream
        .resume()
        .on('end', () => seen.push('end'))
        .on('aborted', () => seen.push('aborted'))
    })
    const half = new Readable({ read: () => undefined })
    half.push('half')
    const { over } = send(pool, { method: 'POST', body: half })
    await new Promise((resolve) => {
      setTimeout(resolve, 100)
    })
    half.destroy()
    expect(await over).toMatchObject({ end: 'died' })
    await eventually(() => seen.length > 0)
    expect(seen[0]).toBe('aborted')
  })

  test('closing the pool breaks off what is under way, and nothing is left open', async () => {
    const { app, pool } = await appOf(() => undefined)
    const { over } = send(pool)
    await eventually(() => app.sessions.size === 1)
    await pool.close()
    expect((await over).end).toMatch(/^(died|connect)$/)
    await eventually(() => app.sessions.size === 0)
    expect(await send(pool).over).toMatchObject({ end: 'connect', written: false })
  })
})

/** node:http2 does not tell for every malformed frame what was wrong with it. */
const brokenOff = { end: expect.stringMatching(/^(protocol|refused)$/), written: true }

const hostile: [string, Buffer[], object][] = [
  ['HTTP/1.1', [Buffer.from('HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok')], brokenOff],
  ['a head without status', [answer([['a', 'b']])], { end: 'protocol' }],
  ['a status of letters', [answer([[':status', 'abc']])], { end: 'protocol' }],
  ['101', [answer([[':status', '101']])], { end: 'protocol' }],
  [
    'a connection header',
    [
      answer(
        [
          [':status', '200'],
          ['connection', 'close'],
        ],
        flags.endHeaders | flags.endStream,
      ),
    ],
    { end: 'protocol' },
  ],
  [
    'a body longer than its length',
    [
      answer([
        [':status', '200'],
        ['content-length', '2'],
      ]),
      data('well', flags.endStream),
    ],
    brokenOff,
  ],
  [
    'a body shorter than its length',
    [
      answer([
        [':status', '200'],
        ['content-length', '9'],
      ]),
      data('well', flags.endStream),
    ],
    { end: 'protocol' },
  ],
  [
    'a reset without an error in a body with a length',
    [
      answer([
        [':status', '200'],
        ['content-length', '9'],
      ]),
      data('well'),
      reset(0),
    ],
    { end: 'refused', received: true },
  ],
  [
    'a reset without an error in a body of no known length',
    [answer([[':status', '200']]), data('well'), reset(0)],
    { end: 'refused', received: true },
  ],
  [
    'a reset in a body',
    [answer([[':status', '200']]), data('well'), reset(2)],
    { status: 200, end: 'refused', received: true },
  ],
  ['a reset without an error, and no answer', [reset(0)], { end: 'refused', received: false, written: true }],
  ['a body without a head', [data('well', flags.endStream)], brokenOff],
  [
    'a flood of 1xx',
    Array.from({ length: 20 }, () => answer([[':status', '103']])),
    { end: 'protocol', received: true },
  ],
  [
    'a head of 40 KiB',
    [
      answer(
        [
          [':status', '200'],
          ['a', 'b'.repeat(14_000)],
        ],
        0,
      ),
      frame(frameTypes.continuation, 0, 1, headerBlock([['b', 'b'.repeat(14_000)]])),
      frame(frameTypes.continuation, flags.endHeaders, 1, headerBlock([['c', 'b'.repeat(14_000)]])),
    ],
    {},
  ],
  ['a push', [frame(5, flags.endHeaders, 1, Buffer.from([0, 0, 0, 2, 0x82]))], brokenOff],
  ['garbage', [Buffer.alloc(1000, 0xff)], brokenOff],
]

describe('a hostile replica ends its connection or its stream, and nothing else', () => {
  test.each(hostile)('%s', async (_what, answers, expected) => {
    const pool = await rawReplica(...answers)
    const told = await send(pool).over
    expect(told).toMatchObject(expected)
    expect(told.end).not.toBe('complete')
  })

  test('one that allows no stream at all does not gather connections', async () => {
    const none = frame(frameTypes.settings, 0, 0, Buffer.from([0, 3, 0, 0, 0, 0]))
    const pool = await rawReplica(none, reset(7))
    for (let i = 0; i < 5; i += 1) expect((await send(pool).over).end).toBe('refused')
  })
})
