import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { valuesOf } from '../testing/messages.ts'
import { get, host, post } from './client-bytes.ts'
import { arrivedIn, expectArrived, statusesIn } from './verdicts.ts'
import { startWatchedEdge, type WatchedEdge } from './watched-edge.ts'

/*
 * Replicas are as hostile as clients: what one of them says reaches the client that asked it, or nobody.
 */

// A router per test: a replica that failed is left alone for longer each time.
let watched: WatchedEdge
beforeEach(async () => {
  watched = await startWatchedEdge()
})
afterEach(() => watched.close())

const ok = 'HTTP/1.1 200 OK\r\n'
const evil = `${ok}Content-Length: 4\r\n\r\nevil`

describe('an answer that comes before the whole request', () => {
  const early = 'HTTP/1.1 413 Content Too Large\r\nContent-Length: 2\r\n\r\nno'

  test('and instead of 100 is relayed, and both connections end (case 30)', async () => {
    watched.answerEarly = () => early
    const head = `POST / HTTP/1.1\r\n${host}Expect: 100-continue\r\nContent-Length: 5\r\n\r\n`
    const seen = await watched.send(head)
    expect(statusesIn(seen).filter((status) => status !== 100)).toEqual([413])
    expect(seen.answers.at(-1)?.body).toBe('no')
    expect(
      seen.answers.at(-1)?.fields.some(([name, value]) => /connection/i.test(name) && /close/i.test(value)),
    ).toBe(true)
    expect(seen.closed).toBe(true)
    expect(seen.requests).toEqual([])
    expect(seen.unfinished).toHaveLength(1)
    // The one with the unfinished request, and another one for the next client.
    expect(seen.opened).toBe(2)
    expect(watched.origin.connections[0]?.closed).toBe(true)
  })

  const smuggled = `/smuggled HTTP/1.1\r\n${host}\r\n`
  const size = 'GET '.length + smuggled.length
  test.each([
    ['a length', `Content-Length: ${size}`, 'GET ', smuggled],
    ['chunks', 'Transfer-Encoding: chunked', `${size.toString(16)}\r\nGET `, `${smuggled}\r\n0\r\n\r\n`],
  ])(
    'does not turn the rest of a body with %s into a request (case 31)',
    async (_what, framing, begin, rest) => {
      watched.answerEarly = () => `${ok}Content-Length: 5\r\n\r\nearly`
      const head = `POST / HTTP/1.1\r\n${host}${framing}\r\n\r\n`
      const seen = await watched.send([head + begin, rest, get('A: b', '/next')], { waitsFor: 'early' })
      // The rest is read and what follows is asked, or the connection ends.
      const asked = arrivedIn(seen)
      expect([[], [['GET /next', '']]]).toContainEqual(asked)
      expect(seen.answers.map(({ body }) => body)).toEqual(['early', ...asked.map(() => 'ok')])
      expect(seen.closed).toBe(true)
      expect(seen.unfinished).toHaveLength(1)
      expect(seen.opened).toBe(2)
    },
  )

  test('to a body that never comes ends the connection soon (case 31)', async () => {
    watched.answerEarly = () => `${ok}Content-Length: 5\r\n\r\nearly`
    const seen = await watched.send(`POST / HTTP/1.1\r\n${host}Content-Length: 10000\r\n\r\nsome of it`)
    expect(statusesIn(seen)).toEqual([200])
    expect(seen.closed).toBe(true)
    expect(seen.requests).toEqual([])
    expect(seen.opened).toBe(2)
  })
})

/** What the client sees of an answer, and that its connection is used no more. */
type Reading = 'a whole answer' | 'nothing but 502' | 'an answer that breaks off'

const answers: [string, string, Reading][] = [
  [
    'a length and chunks',
    `${ok}Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n${evil}`,
    'nothing but 502',
  ],
  [
    'chunks and a length',
    `${ok}Transfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n0\r\n\r\n`,
    'nothing but 502',
  ],
  ['two lengths', `${ok}Content-Length: 2\r\nContent-Length: 40\r\n\r\nok${evil}`, 'nothing but 502'],
  ['the same length twice', `${ok}Content-Length: 2\r\nContent-Length: 2\r\n\r\nok`, 'nothing but 502'],
  ['a list of lengths', `${ok}Content-Length: 2, 2\r\n\r\nok`, 'nothing but 502'],
  ['a length with a sign', `${ok}Content-Length: +2\r\n\r\nok`, 'nothing but 502'],
  ['a coding that nobody knows', `${ok}Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n`, 'nothing but 502'],
  ['two codings', `${ok}Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n`, 'nothing but 502'],
  ['a folded line', `${ok}A: b\r\n Content-Length: 2\r\n\r\nok`, 'nothing but 502'],
  ['a blank before a colon', `${ok}Content-Length : 2\r\n\r\nok`, 'nothing but 502'],
  ['a bare LF', `${ok}A: b\nContent-Length: 2\r\n\r\nok`, 'nothing but 502'],
  ['bare LFs alone', 'HTTP/1.1 200 OK\nContent-Length: 2\n\nok', 'nothing but 502'],
  ['a bare CR', `${ok}A: b\rContent-Length: 40\r\nContent-Length: 2\r\n\r\nok`, 'nothing but 502'],
  [
    'a body for 204',
    `HTTP/1.1 204 No Content\r\nContent-Length: ${evil.length}\r\n\r\n${evil}`,
    'a whole answer',
  ],
  [
    'chunks for 204',
    `HTTP/1.1 204 No Content\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nevil\r\n0\r\n\r\n`,
    'a whole answer',
  ],
  [
    'a body for 304',
    `HTTP/1.1 304 Not Modified\r\nContent-Length: ${evil.length}\r\n\r\n${evil}`,
    'a whole answer',
  ],
  ['a second answer behind it', `${ok}Content-Length: 2\r\n\r\nok${evil}`, 'a whole answer'],
  [
    'a second answer behind its chunks',
    `${ok}Transfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n${evil}`,
    'a whole answer',
  ],
  ['one byte behind it', `${ok}Content-Length: 2\r\n\r\nok\n`, 'a whole answer'],
  [
    'a chunk size that is none',
    `${ok}Transfer-Encoding: chunked\r\n\r\n0x2\r\nok\r\n0\r\n\r\n`,
    'an answer that breaks off',
  ],
  [
    'more data than a chunk has',
    `${ok}Transfer-Encoding: chunked\r\n\r\n2\r\nokevil\r\n0\r\n\r\n`,
    'an answer that breaks off',
  ],
  [
    'a length as trailer',
    `${ok}Transfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nContent-Length: 9\r\n\r\n`,
    'an answer that breaks off',
  ],
]

/** The replica was asked once, and the next client’s request came on a connection of its own. */
function expectAskedOnce(seen: Awaited<ReturnType<WatchedEdge['send']>>): void {
  expect(arrivedIn(seen)).toEqual([['GET /', '']])
  expect(seen.unfinished).toEqual([])
  expect(seen.opened).toBe(2)
}

test.each(answers)(
  'an answer with %s is the last on its connection (case 33)',
  async (_what, bytes, reading) => {
    watched.answer = () => bytes
    const seen = await watched.send(get())
    expectAskedOnce(seen)
    expect(seen.received).not.toContain('evil')
    expect(seen.closed).toBe(true)
    if (reading === 'nothing but 502') expect(statusesIn(seen)).toEqual([502])
    else if (reading === 'a whole answer') {
      expect(statusesIn(seen)).toEqual([Number(bytes.split(' ')[1])])
      expect(seen.leftOver).toBe('')
    } else expect([seen.answers, seen.received.includes('0\r\n\r\n')]).toEqual([[], false])
  },
)

test('an answer to HEAD with a body is the last on its connection (case 33)', async () => {
  watched.answer = () => evil
  const seen = await watched.send(`HEAD / HTTP/1.1\r\n${host}Connection: close\r\n\r\n`)
  expect(arrivedIn(seen)).toEqual([['HEAD /', '']])
  expect(seen.received).toMatch(/^HTTP\/1\.1 200 OK\r\n[^]*\r\n\r\n$/)
  expect(seen.received).not.toContain('evil')
  expect(seen.opened).toBe(2)
})

test.each([
  ['a flood of informational answers', `${'HTTP/1.1 102 Processing\r\n\r\n'.repeat(1000)}${evil}`],
  ['an informational answer with a body', `HTTP/1.1 103 Early Hints\r\nContent-Length: 4\r\n\r\nevil${evil}`],
  [
    '101 that nobody asked for',
    `HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n${evil}`,
  ],
  [
    '101 for a WebSocket that nobody asked for',
    `HTTP/1.1 101 Hi\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n${evil}`,
  ],
  ['a head of 64 KiB', `${ok}A: ${'a'.repeat(65_536)}\r\nContent-Length: 4\r\n\r\nevil`],
  ['a head of 1,000 fields', `${ok}${'A: b\r\n'.repeat(1000)}Content-Length: 4\r\n\r\nevil`],
  ['status 99', 'HTTP/1.1 99 No\r\nContent-Length: 4\r\n\r\nevil'],
  ['status 1000', 'HTTP/1.1 1000 No\r\nContent-Length: 4\r\n\r\nevil'],
  ['status 000', 'HTTP/1.1 000 No\r\nContent-Length: 4\r\n\r\nevil'],
  ['a status of letters', 'HTTP/1.1 2OO OK\r\nContent-Length: 4\r\n\r\nevil'],
  ['a NUL in a value', `${ok}A: b\0c\r\nContent-Length: 4\r\n\r\nevil`],
  ['a CR in a value', `${ok}A: b\rSet-Cookie: evil\r\nContent-Length: 4\r\n\r\nevil`],
  ['a CR and a LF the wrong way round', `${ok}A: b\n\rSet-Cookie: evil\r\nContent-Length: 4\r\n\r\nevil`],
  ['a CR in its status text', 'HTTP/1.1 200 O\rK\r\nContent-Length: 4\r\n\r\nevil'],
  ['a control byte in a name', `${ok}A\x01: evil\r\nContent-Length: 4\r\n\r\nevil`],
  ['another version', 'HTTP/2.0 200 OK\r\nContent-Length: 4\r\n\r\nevil'],
  ['no HTTP at all', 'SSH-2.0-OpenSSH_9.2\r\n'],
])(
  'a replica that says %s gives 502, and nothing of it reaches the client (case 34)',
  async (_what, bytes) => {
    watched.answer = () => bytes
    const seen = await watched.send(get())
    expectAskedOnce(seen)
    expect(statusesIn(seen)).toEqual([502])
    expect(seen.received).not.toContain('evil')
    expect(seen.leftOver).toBe('')
  },
)

test('header names that mean something to JavaScript pass from a replica as well (case 35)', async () => {
  const odd = '__proto__: a\r\n__proto__: b\r\nconstructor: c\r\nhasOwnProperty: d\r\n'
  watched.answer = () => `${ok}Connection: __proto__x\r\n${odd}Content-Length: 2\r\n\r\nok`
  const seen = await watched.send(post('Content-Length: 5', 'hello'))
  expectArrived(seen, ['POST /', 'hello'])
  const [answer] = seen.answers
  expect(answer && valuesOf(answer, '__proto__')).toEqual(['a', 'b'])
  expect(answer && valuesOf(answer, 'hasownproperty')).toEqual(['d'])
})
