import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { ask, eventually, startEdge, type Edge } from '../testing/edge.ts'
import { flags, frame, FrameClient, frameTypes, headerBlock } from '../testing/http2-frames.ts'
import { askHttp2, openSession } from '../testing/http2.ts'
import { readMessages } from '../testing/messages.ts'
import { startRawOrigin, type OriginConnection, type RawOrigin } from '../testing/raw-origin.ts'
import { aReplica, aRevision } from '../testing/routes.ts'

/** What reached the app whole: its requests, and the names of their fields. */
let arrived: string[] = []
let names: string[][] = []
let origin: RawOrigin
let edge: Edge
let client: FrameClient

beforeAll(async () => {
  const answered = new WeakMap<OriginConnection, number>()
  origin = await startRawOrigin((connection) => {
    const { messages } = readMessages(connection.received)
    for (const { start, fields } of messages.slice(answered.get(connection) ?? 0)) {
      arrived.push(start)
      names.push(fields.map(([name]) => name))
      if (!start.includes('/never')) connection.socket.write('HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok')
    }
    answered.set(connection, messages.length)
  })
  edge = await startEdge({ revisions: [aRevision({ replicas: [aReplica('r1', origin.port)] })] })
})
afterAll(async () => {
  await edge.close()
  await origin.close()
})
beforeEach(() => {
  arrived = []
  names = []
  client = new FrameClient(edge.port)
})
afterEach(() => client.socket.destroy())

type Field = readonly [string, string]
const method = [':method', 'GET'] as const
const scheme = [':scheme', 'http'] as const
const path = [':path', '/'] as const
const authority = [':authority', 'hello.localhost'] as const
const get: Field[] = [method, scheme, path, authority]
const post: Field[] = [[':method', 'POST'], scheme, path, authority]
const whole = flags.endHeaders | flags.endStream

function ask1(fields: readonly Field[], flag: number = whole, stream = 1): Buffer {
  return frame(frameTypes.headers, flag, stream, headerBlock(fields))
}

const others = async () => expect((await ask({ port: edge.port })).status).toBe(200)

test('what is well formed reaches the app (case 68)', async () => {
  client.write(ask1(get))
  await eventually(() => client.find(frameTypes.data, 1))
  expect(arrived).toEqual(['GET / HTTP/1.1'])
})

const refused: [string, Field[]][] = [
  ['no method', [scheme, path, authority]],
  ['no path', [method, scheme, authority]],
  ['no scheme', [method, path, authority]],
  ['neither authority nor Host', [method, scheme, path]],
  ['two methods', [method, method, scheme, path, authority]],
  ['two paths', [method, scheme, path, path, authority]],
  ['two authorities', [...get, authority]],
  ['a pseudo header that is none', [...get, [':version', '1']]],
  ['a pseudo header of answers', [...get, [':status', '200']]],
  ['a pseudo header behind a header', [method, scheme, path, ['a', 'b'], authority]],
  ['an empty path', [method, scheme, [':path', ''], authority]],
  ['a path without its slash', [method, scheme, [':path', 'a'], authority]],
  ['a path with a space', [method, scheme, [':path', '/a b'], authority]],
  ['a path with a fragment', [method, scheme, [':path', '/a#b'], authority]],
  ['a path with a line end', [method, scheme, [':path', '/ HTTP/1.1\r\nX: y'], authority]],
  ['a method with a line end', [[':method', 'GET / HTTP/1.1\r\nX: y'], scheme, path, authority]],
  ['a method with a space', [[':method', 'GET /x'], scheme, path, authority]],
  ['another scheme', [method, [':scheme', 'ftp'], path, authority]],
  ['a Host that is not the authority', [...get, ['host', 'other.localhost']]],
  ['two Hosts', [method, scheme, path, ['host', 'hello.localhost'], ['host', 'hello.localhost']]],
  ['an authority with a user', [method, scheme, path, [':authority', 'a@hello.localhost']]],
  ['a name in capitals', [...get, ['A', 'b']]],
  ['Connection', [...get, ['connection', 'close']]],
  ['Keep-Alive', [...get, ['keep-alive', 'timeout=5']]],
  ['Proxy-Connection', [...get, ['proxy-connection', 'close']]],
  ['Transfer-Encoding', [...get, ['transfer-encoding', 'chunked']]],
  ['Upgrade', [...get, ['upgrade', 'websocket']]],
  ['TE other than trailers', [...get, ['te', 'gzip']]],
  ['a length without a body', [...post, ['content-length', '5']]],
  ['two lengths', [...post, ['content-length', '0'], ['content-length', '0']]],
  ['a length with a sign', [...post, ['content-length', '+0']]],
  ['CONNECT', [[':method', 'CONNECT'], authority]],
  ['CONNECT with a path', [[':method', 'CONNECT'], scheme, path, authority]],
  ['TRACE', [[':method', 'TRACE'], scheme, path, authority]],
  ['another expectation', [...get, ['expect', 'foo']]],
  [
    'a protocol that was not offered',
    [[':method', 'CONNECT'], [':protocol', 'foo'], scheme, path, authority],
  ],
]

describe('the app sees nothing of a head that HTTP/2 forbids', () => {
  test.each(refused)('%s (case 68)', async (_what, fields) => {
    client.write(ask1(fields))
    await eventually(() => client.error(1) !== undefined || client.find(frameTypes.headers, 1))
    expect(arrived).toEqual([])
    if (client.error(1) === undefined) {
      // An answer of the router: a problem, whose body says which.
      const data = await eventually(() => client.find(frameTypes.data, 1))
      expect(data.payload.toString()).toMatch(/"status":(400|405|417)/)
    }
    await others()
  })
})

const leftOut: [string, Field][] = [
  ['a name with a colon', ['a:b', 'c']],
  ['a name with a space', ['a b', 'c']],
  ['a name with a line end', ['a\r\nb', 'c']],
  ['an empty name', ['', 'c']],
  ['a value with a line end', ['a', 'b\r\nc: d']],
  ['a value with a CR', ['a', 'b\rc']],
  ['a value with a NUL', ['a', 'b\0c']],
  ['a value with a blank ahead', ['a', ' b']],
  ['a value with a blank behind', ['a', 'b\t']],
]

describe('the app sees a request without a field that can be none', () => {
  test.each(leftOut)('%s (case 68)', async (_what, field) => {
    client.write(ask1([...get, field, ['after', 'it']]))
    await eventually(() => client.error(1) !== undefined || client.find(frameTypes.data, 1))
    expect(arrived).toEqual(['GET / HTTP/1.1'])
    expect(names[0]).toContain('after')
    expect(names[0]).not.toContain(field[0].split('\r')[0])
    await others()
  })
})

describe('a body has to be as long as it says', () => {
  test.each([
    ['longer', 'hello', ''],
    ['shorter', 'hel', ''],
    ['longer in its second frame', 'hell', 'oo'],
  ])('%s (case 68)', async (_what, first, second) => {
    client.write(
      ask1(
        [...post.filter(([name]) => name !== ':path'), [':path', '/never'], ['content-length', '4']],
        flags.endHeaders,
      ),
      frame(frameTypes.data, second === '' ? flags.endStream : 0, 1, Buffer.from(first)),
      ...(second === '' ? [] : [frame(frameTypes.data, flags.endStream, 1, Buffer.from(second))]),
    )
    await eventually(() => client.error(1) !== undefined)
    expect(arrived).toEqual([])
    await others()
  })
})

describe('limits', () => {
  test('101 headers are 431, and so is a head of 17 KiB (case 68)', async () => {
    client.write(ask1([...get, ...Array.from({ length: 100 }, (_, i): Field => [`a${i}`, 'b'])]))
    const data = await eventually(() => client.find(frameTypes.data, 1))
    expect(data.payload.toString()).toContain('"status":431')
    const block = headerBlock([...get, ['a', 'b'.repeat(17 * 1024)]])
    client.write(
      frame(frameTypes.headers, flags.endStream, 3, block.subarray(0, 16_384)),
      frame(frameTypes.continuation, flags.endHeaders, 3, block.subarray(16_384)),
    )
    const large = await eventually(() => client.find(frameTypes.data, 3))
    expect(large.payload.toString()).toContain('"status":431')
    expect(arrived).toEqual([])
  })

  test('a target of 9 KiB is 414 (case 68)', async () => {
    client.write(ask1([method, scheme, [':path', `/${'a'.repeat(9216)}`], authority]))
    const data = await eventually(() => client.find(frameTypes.data, 1))
    expect(data.payload.toString()).toContain('"status":414')
  })

  test.each([
    ['without an error', 0],
    ['with CANCEL', 8],
  ])(
    'a body without a length that its client resets %s never ends as if it were whole (case 68)',
    async (_what, code) => {
      client.write(ask1(post, flags.endHeaders), frame(frameTypes.data, 0, 1, Buffer.from('a part')))
      await eventually(() => origin.connections.some(({ received }) => received.includes('a part')))
      const asked = origin.connections.find(({ received }) => received.includes('a part'))
      client.write(frame(frameTypes.resetStream, 0, 1, Buffer.from([0, 0, 0, code])))
      await eventually(() => asked?.socket.closed)
      expect(asked?.received).toMatch(/\r\n6\r\na part\r\n$/)
      expect(arrived).toEqual([])
      await others()
    },
  )

  test('the 101st stream is refused (case 68)', async () => {
    await eventually(() => client.find(frameTypes.settings, 0))
    client.write(frame(frameTypes.settings, flags.acknowledge, 0))
    const never = [method, scheme, [':path', '/never'], authority] as const
    for (let i = 0; i < 100; i += 1) client.write(ask1(never, whole, 1 + 2 * i))
    await eventually(() => arrived.length === 80)
    client.write(ask1(never, whole, 201))
    await eventually(() => client.error(201) !== undefined || client.isClosed)
    client.socket.destroy()
    await eventually(() =>
      edge.leader.last('report')?.revisions.every(({ inFlight, queued }) => inFlight + queued === 0),
    )
    await others()
  })
})

/** Writes until the server ends the connection, at most `limit` times. Returns how often. */
async function flood(limit: number, next: (i: number) => Buffer): Promise<number> {
  let sent = 0
  for (; sent < limit && !client.isClosed && client.find(frameTypes.goaway, 0) === undefined; sent += 1) {
    const writable = client.write(next(sent))
    if (!writable || sent % 50 === 49)
      await new Promise((resolve) => {
        setTimeout(resolve, 1)
      })
  }
  await eventually(() => client.isClosed || client.find(frameTypes.goaway, 0) !== undefined)
  return sent
}

describe('a flood ends its connection and disturbs nobody', () => {
  test('rapid reset (case 68)', async () => {
    const sent = await flood(10_000, (i) =>
      Buffer.concat([
        ask1(get, whole, 1 + 2 * i),
        frame(frameTypes.resetStream, 0, 1 + 2 * i, Buffer.from([0, 0, 0, 8])),
      ]),
    )
    expect(sent).toBeLessThan(1000)
    await others()
  })

  test('CONTINUATION without end (case 68)', async () => {
    client.write(ask1(get, flags.endStream))
    const sent = await flood(10_000, () => frame(frameTypes.continuation, 0, 1, headerBlock([['a', 'b']])))
    expect(sent).toBeLessThan(1000)
    expect(arrived).toEqual([])
    await others()
  })

  test.each([
    ['PING', frame(frameTypes.ping, 0, 0, Buffer.alloc(8))],
    ['SETTINGS', frame(frameTypes.settings, 0, 0, Buffer.from([0, 3, 0, 0, 0, 9]))],
    ['an empty DATA', frame(frameTypes.data, 0, 1)],
    ['an unknown reset', frame(frameTypes.resetStream, 0, 1, Buffer.from([0, 0, 0, 8]))],
  ])('%s again and again (case 68)', async (what, bytes) => {
    if (what.includes('DATA')) client.write(ask1(post, flags.endHeaders))
    expect(await flood(100_000, () => bytes)).toBeLessThan(10_000)
    await others()
  })

  test('a window that overflows (case 68)', async () => {
    client.write(frame(frameTypes.windowUpdate, 0, 0, Buffer.from([0x7f, 0xff, 0xff, 0xff])))
    await eventually(() => client.error(0) === 3)
    client.socket.destroy()
    client = new FrameClient(edge.port)
    client.write(
      ask1(post, flags.endHeaders),
      frame(frameTypes.windowUpdate, 0, 1, Buffer.from([0x7f, 0xff, 0xff, 0xff])),
    )
    await eventually(() => client.error(1) === 3)
    await others()
  })

  test('an HPACK bomb: a large field in the table, named again and again (case 68)', async () => {
    const big = Buffer.concat([Buffer.from([0x40]), headerBlock([['a', 'b'.repeat(4000)]]).subarray(1)])
    const again = Buffer.alloc(10_000, 0x80 | 62)
    client.write(frame(frameTypes.headers, whole, 1, Buffer.concat([headerBlock(get), big, again])))
    await eventually(() => client.error(1) !== undefined)
    expect(arrived).toEqual([])
    await others()
  })

  test('garbage (case 68)', async () => {
    client.write(Buffer.alloc(65_536, 0xff))
    await eventually(() => client.isClosed)
    const session = await openSession(`http://127.0.0.1:${edge.port}`)
    expect((await askHttp2(session)).status).toBe(200)
    session.destroy()
  })
})
