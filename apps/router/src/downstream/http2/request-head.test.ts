import { describe, expect, test } from 'vitest'
import { readHead } from './request-head.ts'

const get = [':method', 'GET', ':scheme', 'https', ':path', '/a?b', ':authority', 'hello.localhost']
const read = (...fields: string[]) => readHead([...get, ...fields], 16_384)

test('a head is told in the words of HTTP/1.1, with one Cookie', () => {
  expect(read('accept', '*/*', 'cookie', 'a=b', 'x', '', 'cookie', 'c=d')).toEqual({
    refusal: undefined,
    head: {
      method: 'GET',
      url: '/a?b',
      httpVersion: '2.0',
      rawHeaders: ['host', 'hello.localhost', 'accept', '*/*', 'x', '', 'cookie', 'a=b; c=d'],
    },
  })
})

test('a Host of the same name says nothing new, and one without an authority is the authority', () => {
  expect(read('host', 'HELLO.localhost')).toEqual(read())
  expect(readHead([...get.slice(0, 6), 'a', 'b', 'host', 'c'], 16_384).head.rawHeaders).toEqual([
    'host',
    'c',
    'a',
    'b',
  ])
})

describe('what nghttp2 refuses or leaves out is refused here too', () => {
  test.each([
    ['a name in capitals', ['A', 'b']],
    ['a name with a space', ['a b', 'c']],
    ['a name with a line end', ['a\r\nb', 'c']],
    ['an empty name', ['', 'c']],
    ['a value with a line end', ['a', 'b\r\nc']],
    ['a value with a NUL', ['a', '\0']],
    ['a value with a blank ahead', ['a', ' b']],
    ['a value with a blank behind', ['a', 'b ']],
    ['Connection', ['connection', 'close']],
    ['Transfer-Encoding', ['transfer-encoding', 'chunked']],
    ['Upgrade', ['upgrade', 'websocket']],
    ['HTTP2-Settings', ['http2-settings', 'AAMAAABk']],
    ['TE other than trailers', ['te', 'gzip']],
    ['an unknown pseudo header', [':version', '1']],
    ['a pseudo header twice', [':path', '/a?b']],
    ['a pseudo header behind a header', ['a', 'b', ':protocol', 'websocket']],
    ['another Host', ['host', 'other.localhost']],
  ])('%s', (_what, fields) => {
    expect(read(...fields).refusal?.code).toBe('malformed-request')
  })

  test('a pseudo header that is missing', () => {
    for (const at of [0, 2, 4])
      expect(readHead(get.toSpliced(at, 2), 16_384).refusal?.code).toBe('malformed-request')
  })

  test('more than it may be', () => {
    expect(read('a', 'b'.repeat(16_384)).refusal?.code).toBe('headers-too-large')
  })
})
