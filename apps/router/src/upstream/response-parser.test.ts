import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { anAnswer, anAnswerInPieces } from '../testing/answers.ts'
import { readAnswer, type Asked } from '../testing/read-answer.ts'
import { ResponseParser } from './response-parser.ts'

const ok = 'HTTP/1.1 200 OK\r\n'
const chunked = `${ok}Transfer-Encoding: chunked\r\n\r\n`

describe('an answer is read whole', () => {
  test('with a length, and its values without the blanks around them', () => {
    expect(readAnswer([`${ok}Content-Length: 2\r\nA:\t b c \r\nA: \r\nB:\xa0\r\n\r\nok`])).toEqual({
      status: 200,
      statusText: 'OK',
      headers: ['Content-Length', '2', 'A', 'b c', 'A', '', 'B', '\xa0'],
      body: 'ok',
      trailers: [],
      end: 'complete',
      keepsConnection: true,
    })
  })

  test('in chunks with extensions, and trailers behind them', () => {
    const chunks = `5;a=b;c="d\\"e";f\r\nhello\r\n00A\r\n, good bye\r\n`
    expect(readAnswer([`${chunked}${chunks}0\r\nSum: 1\r\n\r\n`])).toMatchObject({
      body: 'hello, good bye',
      trailers: ['Sum', '1'],
      end: 'complete',
      keepsConnection: true,
    })
  })

  test('with blanks behind what frames it', () => {
    expect(readAnswer([`${ok}Content-Length: 2  \r\n\r\nok`]).end).toBe('complete')
    expect(readAnswer([`${ok}Transfer-Encoding: chunked \r\n\r\n0\r\n\r\n`]).end).toBe('complete')
  })

  test('without a length, when the connection ends', () => {
    expect(readAnswer([`HTTP/1.1 200\r\n\r\n`, 'hello', ''])).toMatchObject({
      body: 'hello',
      end: 'complete',
    })
  })

  test.each([
    ['103 and 100', 'HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 100 Continue\r\n\r\n'],
    ['sixteen informational ones', 'HTTP/1.1 102 Processing\r\n\r\n'.repeat(16)],
  ])('after %s', (_what, before) => {
    expect(readAnswer([`${before}${ok}Content-Length: 1\r\n\r\na`])).toMatchObject({
      status: 200,
      headers: ['Content-Length', '1'],
      body: 'a',
      end: 'complete',
    })
  })

  test.each([
    ['a HEAD', `${ok}Content-Length: 5\r\n\r\n`, { toHead: true }],
    ['a HEAD, in chunks', chunked, { toHead: true }],
    ['204', 'HTTP/1.1 204 No Content\r\n\r\n', {}],
    ['304', 'HTTP/1.1 304 Not Modified\r\n\r\n', {}],
    ['a length of 0', `${ok}Content-Length: 0\r\n\r\n`, {}],
  ] satisfies [string, string, Asked][])('without a body: %s', (_what, bytes, asked) => {
    expect(readAnswer([bytes], asked)).toMatchObject({ body: '', end: 'complete', keepsConnection: true })
  })
})

test.each([
  ['Connection: close', `${ok}Connection: a, Close\r\nContent-Length: 0\r\n\r\n`, {}],
  ['HTTP/1.0', 'HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 0\r\n\r\n', {}],
  ['204 that announces a body', 'HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\n', {}],
  ['304 that announces chunks', 'HTTP/1.1 304 No\r\nTransfer-Encoding: chunked\r\n\r\n', {}],
  ['a body behind 204', 'HTTP/1.1 204 No Content\r\n\r\nhello', {}],
  ['a body behind the answer to HEAD', `${ok}Content-Length: 5\r\n\r\nhello`, { toHead: true }],
  ['bytes behind the length', `${ok}Content-Length: 2\r\n\r\nokHTTP/1.1 200 OK\r\n\r\n`, {}],
  ['bytes behind the last chunk', `${chunked}0\r\n\r\n\r\n`, {}],
] satisfies [string, string, Asked][])('%s: no answer may follow', (_what, bytes, asked) => {
  expect(readAnswer([bytes], asked)).toMatchObject({ end: 'complete', keepsConnection: false })
})

const heads: [string, string][] = [
  ['a length and a transfer coding', `${ok}Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n`],
  ['a transfer coding and a length', `${ok}transfer-encoding: chunked\r\ncontent-length: 2\r\n\r\n`],
  ['two lengths', `${ok}Content-Length: 2\r\nContent-Length: 3\r\n\r\n`],
  ['the same length twice', `${ok}Content-Length: 2\r\nContent-Length: 2\r\n\r\n`],
  ['a list of lengths', `${ok}Content-Length: 2, 2\r\n\r\n`],
  ...['+2', '-1', '0x2', '2e0', '2 2', '', '2\xa0', '2\t', '9'.repeat(16)].map((length): [string, string] => [
    `the length "${length}"`,
    `${ok}Content-Length: ${length}\r\n\r\n`,
  ]),
  ...[
    'xchunked',
    'gzip, chunked',
    'chunked, chunked',
    'identity',
    '"chunked"',
    'chunked;q=1',
    'chunked\t',
    '',
  ].map((coding): [string, string] => [
    `the transfer coding "${coding}"`,
    `${ok}Transfer-Encoding: ${coding}\r\n\r\n`,
  ]),
  ['chunked twice', `${ok}Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n`],
  ['a transfer coding in HTTP/1.0', 'HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n'],
  ['a blank before the colon', `${ok}Content-Length : 2\r\n\r\n`],
  ['a blank before the name', `${ok} Content-Length: 2\r\n\r\n`],
  ['a folded line', `${ok}A: b\r\n\tc\r\n\r\n`],
  ['no name', `${ok}: b\r\n\r\n`],
  ['no colon', `${ok}A\r\n\r\n`],
  ['a name above ASCII', `${ok}\xe4: b\r\n\r\n`],
  ...['\0', '\x01', '\x0b', '\x1f', '\x7f', '\r'].map((byte): [string, string] => [
    `the byte ${byte.charCodeAt(0)} in a value`,
    `${ok}A: b${byte}c\r\n\r\n`,
  ]),
  ['LF alone behind a field', `${ok}A: b\nContent-Length: 2\r\n\r\n`],
  ['LF alone behind the status line', 'HTTP/1.1 200 OK\nContent-Length: 2\r\n\r\n'],
  ['LF alone at the end of the head', `${ok}A: b\r\n\n`],
  ['CR CR LF', `${ok}A: b\r\r\n\r\n`],
  ...['HTTP/1.1 99 No', 'HTTP/1.1 1000 No', 'HTTP/1.1 020 No', 'HTTP/1.1 2OO OK'].map(
    (line): [string, string] => [line, `${line}\r\n\r\n`],
  ),
  ...[
    'HTTP/2 200 OK',
    'HTTP/0.9 200 OK',
    'HTTP/1.1  200 OK',
    'HTTP/1.1\t200 OK',
    'http/1.1 200 OK',
    'ICY 200 OK',
  ].map((line): [string, string] => [line, `${line}\r\n\r\n`]),
  ['a blank line first', `\r\n${ok}\r\n`],
  ['101 that nobody asked for', 'HTTP/1.1 101 Hi\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n'],
  ['seventeen informational answers', 'HTTP/1.1 102 Processing\r\n\r\n'.repeat(17)],
  ...[
    'HTTP/1.0 103 Early Hints\r\n',
    'HTTP/1.1 103 Early Hints\r\nConnection: close\r\n',
    'HTTP/1.1 103 Early Hints\r\nContent-Length: 1\r\n',
  ].map((before): [string, string] => [before, `${before}\r\n${ok}\r\n`]),
  ['more than 32 KiB', `${ok}A: ${'a'.repeat(32 * 1024)}\r\n\r\n`],
  ['more than 32 KiB in many fields', ok + `A: ${'a'.repeat(500)}\r\n`.repeat(66)],
  ['more than 256 fields', `${ok}${'A: b\r\n'.repeat(257)}\r\n`],
]

test.each(heads)('a head with %s never becomes an answer', (_what, bytes) => {
  expect(readAnswer([bytes])).toEqual({ body: '', end: 'broken' })
})

test('a head that never ends is given up at 32 KiB, before its line is whole', () => {
  expect(readAnswer([ok, 'A: ', ...Array.from({ length: 33 }, () => 'a'.repeat(1024))]).end).toBe('broken')
})

const bodies: [string, string][] = [
  ...['0x5', '+5', '-1', ' 5', '5 ', '5_0', '', 'g', '1'.repeat(14)].map((size): [string, string] => [
    `the size "${size}"`,
    `${size}\r\nhello\r\n0\r\n\r\n`,
  ]),
  ['more data than its size', '4\r\nhello\r\n0\r\n\r\n'],
  ['less data than its size', '6\r\nhello\r\n0\r\n\r\n'],
  ['no line end behind its data', '5\r\nhello0\r\n\r\n'],
  ['LF alone behind its size', '5\nhello\r\n0\r\n\r\n'],
  ['LF alone behind its data', '5\r\nhello\n0\r\n\r\n'],
  ['CR in an extension', '5;a\rb\r\nhello\r\n0\r\n\r\n'],
  ['LF in an extension', '5;a="\nb"\r\nhello\r\n0\r\n\r\n'],
  ['a blank in an extension', '5; a=b\r\nhello\r\n0\r\n\r\n'],
  ['an extension that never ends', `5;a=${'b'.repeat(2000)}`],
  ['a malformed trailer', '0\r\nA : b\r\n\r\n'],
  ['a folded trailer', '0\r\nA: b\r\n c\r\n\r\n'],
  ['a length as trailer', '0\r\nContent-Length: 0\r\n\r\n'],
  ['a transfer coding as trailer', '0\r\ntransfer-encoding: chunked\r\n\r\n'],
  ['a flood of trailers', `0\r\n${'A: b\r\n'.repeat(257)}\r\n`],
  ['trailers of 40 KiB', `0\r\nA: ${'a'.repeat(40_000)}\r\n\r\n`],
]

test.each(bodies)('a chunk with %s is never complete', (_what, bytes) => {
  expect(readAnswer([chunked + bytes])).toMatchObject({ status: 200, end: 'broken' })
})

test.each([
  ['a length', `${ok}Content-Length: 3\r\n\r\nok`],
  ['chunks', `${chunked}2\r\nok\r\n`],
  ['trailers', `${chunked}0\r\nA: b\r\n`],
  ['half a head', ok],
])('an answer with %s that ends early is never complete', (_what, bytes) => {
  expect(readAnswer([bytes]).end).toBe('cut off')
})

describe('a wish to switch to WebSocket', () => {
  const switching = 'HTTP/1.1 101 Hi\r\nConnection: keep-alive, Upgrade\r\nUpgrade: WebSocket\r\nA: b\r\n\r\n'

  test('is granted with what was said behind it', () => {
    expect(readAnswer([`${switching}\x81\x01a`], { asksUpgrade: true })).toMatchObject({
      status: 101,
      end: 'switched',
      rest: '\x81\x01a',
    })
  })

  test('is not granted by another protocol, nor without Connection', () => {
    for (const [said, instead] of [
      ['WebSocket', 'h2c'],
      ['keep-alive, Upgrade', 'keep-alive'],
    ] as const)
      expect(readAnswer([switching.replace(said, instead)], { asksUpgrade: true }).end).toBe('broken')
  })

  test('is answered otherwise as any request', () => {
    expect(readAnswer([`${ok}Content-Length: 2\r\n\r\nno`], { asksUpgrade: true })).toMatchObject({
      body: 'no',
      end: 'complete',
    })
  })
})

test('nothing is said any more once an event has stopped it', () => {
  const said: string[] = []
  const parser: ResponseParser = new ResponseParser({
    head: () => said.push('head'),
    data() {
      said.push('data')
      parser.stop()
    },
    complete: () => said.push('complete'),
    switched: () => said.push('switched'),
    broken: () => said.push('broken'),
  })
  parser.begin({ toHead: false, asksUpgrade: false })
  parser.read(Buffer.from(`${chunked}1\r\na\r\n1\r\nb\r\n0\r\n\r\n`))
  parser.ended()
  expect(said).toEqual(['head', 'data'])
})

test('a well formed answer is read, whatever it holds', () => {
  fc.assert(
    fc.property(anAnswer, (bytes) => {
      expect(readAnswer([bytes])).toMatchObject({ status: expect.any(Number), end: 'complete' })
    }),
  )
})

test('it makes no difference in which pieces an answer comes', () => {
  fc.assert(
    fc.property(anAnswerInPieces, ({ bytes, pieces }) => {
      expect(readAnswer(pieces)).toEqual(readAnswer([bytes]))
      expect(readAnswer(bytes.split(''))).toEqual(readAnswer([bytes]))
    }),
    { numRuns: 1000 },
  )
})
