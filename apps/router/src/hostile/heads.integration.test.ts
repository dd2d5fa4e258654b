import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { bareGet, bytesFrom, charOf, get, host, named, post } from './client-bytes.ts'
import { arrivedIn, expectArrived, expectRefused, expectRefusedOrArrived } from './verdicts.ts'
import { startWatchedEdge, type WatchedEdge } from './watched-edge.ts'

/*
 * The lines of a request's head: what is no HTTP is refused, and what is passes byte for byte.
 */

let watched: WatchedEdge
beforeAll(async () => {
  watched = await startWatchedEdge()
})
afterAll(() => watched.close())

const closing = 'Connection: close\r\n'

describe('a line of the head is refused', () => {
  test.each([
    ['Content-Length, the first one', `POST / HTTP/1.1\r\n Content-Length: 5\r\n${host}${closing}\r\nhello`],
    ['Content-Length, the last one', post(' Content-Length: 5', 'hello')],
    ['Transfer-Encoding', post(' Transfer-Encoding: chunked', '0\r\n\r\n')],
    ['Host, the only one', bareGet(' Host: hello.localhost')],
    ['Host, with a tab', bareGet('\tHost: hello.localhost')],
    ['any other field, the first one', `GET / HTTP/1.1\r\n A: b\r\n${host}${closing}\r\n`],
  ])('with a blank before its name: %s (case 10)', async (_what, bytes) => {
    expectRefused(await watched.send(bytes), 400)
  })

  test.each([
    ['Content-Length', post('Content-Length : 5', 'hello')],
    ['Content-Length, with a tab', post('Content-Length\t: 5', 'hello')],
    ['Transfer-Encoding', post('Transfer-Encoding : chunked', '0\r\n\r\n')],
    ['Host', bareGet('Host : hello.localhost')],
    ['any other field', get('A : b')],
    ['any other field, with a tab', get('A\t: b')],
  ])('with a blank before its colon: %s (case 11)', async (_what, bytes) => {
    expectRefused(await watched.send(bytes), 400)
  })

  test.each([
    ['with a value', ': a'],
    ['without a value', ':'],
    ['and a length behind it', ': \r\nContent-Length: 5'],
  ])('without a name, %s (case 12)', async (_what, fields) => {
    expectRefused(await watched.send(post(fields, 'hello')), 400)
  })

  test('without a colon (case 12)', async () => {
    expectRefused(await watched.send(get('A')), 400)
  })

  test.each([
    ['everywhere', 'GET / HTTP/1.1\nHost: hello.localhost\nConnection: close\n\n'],
    ['behind the request line', `GET / HTTP/1.1\n${host}${closing}\r\n`],
    ['behind a field', `GET / HTTP/1.1\r\nHost: hello.localhost\n${closing}\r\n`],
    ['behind the last field', `GET / HTTP/1.1\r\n${host}Connection: close\n\r\n`],
    ['at the very end', `GET / HTTP/1.1\r\n${host}${closing}\n`],
    ['in a value', get('A: b\nContent-Length: 5')],
  ])('that ends in a bare LF %s (case 13)', async (_what, bytes) => {
    expectRefused(await watched.send(bytes), 400)
  })

  test.each([
    ['behind the request line', `GET / HTTP/1.1\r${host}${closing}\r\n`],
    ['behind a field', `GET / HTTP/1.1\r\nHost: hello.localhost\r${closing}\r\n`],
    ['in a value', get('A: b\rc')],
    ['before a name', get('\rA: b')],
    ['in a name', get('A\rB: c')],
    ['twice behind a value', get('A: b\r')],
  ])('with a bare CR %s (case 13)', async (_what, bytes) => {
    expectRefused(await watched.send(bytes), 400)
  })

  test.each(['\r\n\rX', '\r\n\r\r\n', '\r\n\r', '\r\r\n\r\n'])(
    'that ends the head with %j and goes on (case 14)',
    async (end) => {
      const rest = `GET /admin HTTP/1.1\r\n${host}${closing}\r\n`
      expectRefused(await watched.send(`GET / HTTP/1.1\r\n${host}A: b${end}${rest}`), 400)
    },
  )

  test.each([
    ['Host', bareGet('Host:\r\n hello.localhost')],
    ['Host, a second one', bareGet('Host: hello.localhost\r\n .evil')],
    ['Content-Length', post('Content-Length:\r\n 5', 'hello')],
    ['Content-Length with more digits', post('Content-Length: 5\r\n 5', 'hello')],
    ['Content-Length, with a tab', post('Content-Length:\r\n\t5', 'hello')],
    ['Transfer-Encoding', post('Transfer-Encoding:\r\n chunked', '0\r\n\r\n')],
    ['any other field', get('A: b\r\n c')],
    ['the last field', `GET / HTTP/1.1\r\n${host}${closing}A: b\r\n \r\n\r\n`],
  ])('that is folded: %s (case 15)', async (_what, bytes) => {
    expectRefused(await watched.send(bytes), 400)
  })

  test.each([
    ['a blank', ` ${get()}`],
    ['a tab', `\t${get()}`],
    ['a field', `A: b\r\n${get()}`],
    ['a Host', `${host}${get()}`],
    ['a NUL', `\0${get()}`],
    ['a byte order mark', `\xef\xbb\xbf${get()}`],
  ])('with %s before the request line (case 16)', async (_what, bytes) => {
    expectRefused(await watched.send(bytes), 400)
  })

  test('no: empty lines before the request line are ignored (case 16)', async () => {
    expectArrived(await watched.send(`\r\n\r\n${get()}`), ['GET /'])
  })

  const controls = [...bytesFrom(0, 8), ...bytesFrom(10, 31), 127]
  test.each(controls.map(named))('with the byte %s in a value (case 17)', async (byte) => {
    expectRefused(await watched.send(get(`A: b${charOf(Number(byte))}c`)), 400)
    expectRefused(await watched.send(get(`A: b${charOf(Number(byte))}`)), 400)
    expectRefused(await watched.send(get(`A:${charOf(Number(byte))}b`)), 400)
  })

  test('with a byte in its name that no token has (case 17)', async () => {
    const token = /[!#$%&'*+.^_`|~0-9A-Za-z-]/
    const others = bytesFrom(0, 255).filter((byte) => !token.test(charOf(byte)) && charOf(byte) !== ':')
    expect(others).toHaveLength(256 - 78)
    for (const byte of others) {
      expectRefused(await watched.send(get(`A${charOf(byte)}B: c`)), 400)
      expectRefused(await watched.send(get(`${charOf(byte)}B: c`)), 400)
    }
  })
})

describe('a line of the head passes', () => {
  test('with every byte that a value may have, tab and those above ASCII among them (case 17)', async () => {
    const value = [9, ...bytesFrom(32, 126), ...bytesFrom(128, 255)].map(charOf).join('')
    const seen = await watched.send(get(`A: b${value}c`))
    expectArrived(seen, ['GET /'])
    expect(seen.requests[0]?.fields).toContainEqual(['A', `b${value}c`])
  })

  test('with a name that means something to JavaScript (case 35)', async () => {
    const odd: [string, string][] = [
      ['__proto__', 'a'],
      ['__proto__', 'b'],
      ['constructor', 'c'],
      ['hasOwnProperty', 'd'],
      ['toString', 'e'],
      ['valueOf', 'f'],
      ['__defineGetter__', 'g'],
    ]
    const seen = await watched.send(get(odd.map(([name, value]) => `${name}: ${value}`).join('\r\n')))
    expectArrived(seen, ['GET /'])
    expect(seen.requests[0]?.fields.filter(([name]) => odd.some(([other]) => other === name))).toEqual(odd)
  })

  test('even when such a name is listed in Connection, or is a trailer (case 35)', async () => {
    const listed = `GET / HTTP/1.1\r\n${host}Connection: close, __proto__, constructor\r\n__proto__: a\r\n\r\n`
    const seen = await watched.send(listed)
    expectArrived(seen, ['GET /'])
    expect(JSON.stringify(seen.requests)).not.toContain('__proto__')
    const trailers = '__proto__: a\r\nconstructor: b\r\n'
    const chunks = `5\r\nhello\r\n0\r\n${trailers}\r\n`
    expectArrived(await watched.send(post('Transfer-Encoding: chunked', chunks)), ['POST /', 'hello'])
  })
})

describe('what an app may be expected to do', () => {
  test.each(['foo', '100-continue, foo', 'foo, 100-continue', '101-continue', '100-continue;q=1', ''])(
    'is not %j (case 29)',
    async (expectation) => {
      expectRefused(await watched.send(post(`Expect: ${expectation}\r\nContent-Length: 5`, 'hello')), 417)
    },
  )

  test('is to go on, which the router says, and the expectation does not reach the app (case 29)', async () => {
    const head = post('Expect: 100-Continue\r\nContent-Length: 5')
    const seen = await watched.send([head, 'hello'], { waitsFor: '100 Continue' })
    expect(arrivedIn(seen)).toEqual([['POST /', 'hello']])
    expect(JSON.stringify(seen.requests).toLowerCase()).not.toContain('expect')
    expect(seen.answers.map(({ start }) => start)).toEqual(['HTTP/1.1 100 Continue', 'HTTP/1.1 200 OK'])
  })
})

describe('a head is too large', () => {
  test.each([
    ['64 KiB', 65_536],
    ['9 KiB', 9216],
    ['8 KiB and one byte', 8193],
  ])('with a target of %s (case 50)', async (_what, length) => {
    expectRefused(await watched.send(get('A: b', `/${'a'.repeat(length - 1)}`)), 414)
  })

  test('not with a target of 8 KiB (case 50)', async () => {
    const target = `/${'a'.repeat(8191)}`
    expectArrived(await watched.send(get('A: b', target)), [`GET ${target}`])
  })

  test.each([
    ['one field', `A: ${'a'.repeat(17_408)}`],
    ['one name', `${'a'.repeat(17_408)}: b`],
    ['90 fields', Array.from({ length: 90 }, () => `A: ${'a'.repeat(200)}`).join('\r\n')],
  ])('with fields of 17 KiB, %s (case 51)', async (_what, fields) => {
    expectRefused(await watched.send(get(fields)), 431)
  })

  test('with a field that never ends (case 51)', async () => {
    expectRefused(await watched.send(`GET / HTTP/1.1\r\n${host}A: ${'a'.repeat(100_000)}`), 431)
  })

  const fieldsOf = (count: number) => Array.from({ length: count }, (_, i) => `A${i}: b`).join('\r\n')
  test.each([101, 102, 200, 1001, 2001])('with %i fields (case 52)', async (count) => {
    expectRefused(await watched.send(get(fieldsOf(count - 2))), 431)
  })

  test('not with 100 fields, and none of them is dropped (case 52)', async () => {
    const seen = await watched.send(get(fieldsOf(98)))
    expectArrived(seen, ['GET /'])
    expect(seen.requests[0]?.fields.filter(([name]) => /^A[0-9]+$/.test(name))).toHaveLength(98)
  })
})

test.each([
  ['a value with blanks around it', 'A:  \t b \t '],
  ['no blank before a value', 'A:b'],
  ['an empty value', 'A:'],
])('%s arrives as one request or not at all (case 15)', async (_what, field) => {
  expectRefusedOrArrived(await watched.send(get(field)), 'GET /')
})
