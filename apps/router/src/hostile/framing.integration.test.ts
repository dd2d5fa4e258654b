import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { readMessages } from '../testing/messages.ts'
import { bytesFrom, charOf, get, host, post, postChunks } from './client-bytes.ts'
import { arrivedIn, expectArrived, expectNeverWhole, expectRefused, namesIn, statusesIn } from './verdicts.ts'
import { startWatchedEdge, type WatchedEdge } from './watched-edge.ts'

/*
 * Where a body ends: two readers that disagree about it are what request smuggling is made of.
 */

let watched: WatchedEdge
beforeAll(async () => {
  watched = await startWatchedEdge()
})
afterAll(() => watched.close())

const smuggled = `GET /smuggled HTTP/1.1\r\n${host}\r\n`

describe('the length of a body', () => {
  test.each([
    ['the length first', post('Content-Length: 5\r\nTransfer-Encoding: chunked', '0\r\n\r\n')],
    ['the coding first', post('Transfer-Encoding: chunked\r\nContent-Length: 5', '0\r\n\r\n')],
    ['a length of 0', post('Content-Length: 0\r\nTransfer-Encoding: chunked', '0\r\n\r\n')],
    ['in a GET', get('Content-Length: 5\r\nTransfer-Encoding: chunked') + '0\r\n\r\n'],
    [
      'with lines between',
      post('Content-Length: 5\r\nA: b\r\nB: c\r\nTransfer-Encoding: chunked', '0\r\n\r\n'),
    ],
  ])('beside a transfer coding is refused: %s (case 1)', async (_what, bytes) => {
    expectRefused(await watched.send(bytes), 400)
  })

  test.each([
    ['shorter', 60, '0\r\n\r\n'],
    ['longer', 3, '5\r\nhello\r\n0\r\n\r\n'],
    ['longer by a whole request', 5, `0\r\n\r\n${smuggled}`],
  ])('beside chunks that are %s is refused (case 2)', async (_what, length, chunks) => {
    expectRefused(
      await watched.send(post(`Content-Length: ${length}\r\nTransfer-Encoding: chunked`, chunks)),
      400,
    )
  })

  test.each([
    'xchunked',
    'chunked, identity',
    'identity, chunked',
    'gzip, chunked',
    'chunked, chunked',
    '"chunked"',
    "'chunked'",
    'chunked;q=1',
    'cow',
    'chunk',
    'identity',
    'gzip',
    'chunked,',
    ', chunked',
    '',
  ])('is not told by the coding %j (case 3)', async (coding) => {
    expectRefused(await watched.send(post(`Transfer-Encoding: ${coding}`, '0\r\n\r\n')), 400)
  })

  test('is never told by a second spelling of Transfer-Encoding beside it (case 4)', async () => {
    const spellings = spellingsOfTransferEncoding()
    expect(spellings.length).toBeGreaterThan(670)
    const forwarded: string[] = []
    for (const spelling of spellings) {
      const seen = await watched.send(post(`Content-Length: 5\r\n${spelling}`, '0\r\n\r\n'))
      if (seen.requests.length === 0) {
        expectRefused(seen, 400)
        continue
      }
      expectArrived(seen, ['POST /', '0\r\n\r\n'])
      expect(namesIn(seen).filter((name) => /^transfer.?encoding$/.test(name))).toEqual([])
      forwarded.push(spelling)
    }
    // Whatever is a legal spelling meets the length and is refused, so these are no spelling at all.
    expect(forwarded.filter((spelling) => /^transfer-encoding:/i.test(spelling))).toEqual([])
  })

  test.each([
    ['cow and chunked', 'cow', 'chunked'],
    ['chunked and cow', 'chunked', 'cow'],
    ['chunked twice', 'chunked', 'chunked'],
    ['identity and chunked', 'identity', 'chunked'],
  ])('is not told by two codings, %s (case 5)', async (_what, first, second) => {
    const fields = `Transfer-Encoding: ${first}\r\nA: b\r\nTransfer-Encoding: ${second}`
    expectRefused(await watched.send(post(fields, '0\r\n\r\n')), 400)
  })

  test.each(['chunked', 'identity'])('is not told by the coding %s in HTTP/1.0 (case 6)', async (coding) => {
    const head = `POST / HTTP/1.0\r\n${host}Transfer-Encoding: ${coding}\r\n\r\n`
    expectRefused(await watched.send(`${head}0\r\n\r\n`), 400)
  })

  test.each([
    ['1', '2'],
    ['2', '1'],
    ['0', '5'],
    ['5', '0'],
  ])('is refused when it is %s and %s (case 7)', async (first, second) => {
    const fields = `Content-Length: ${first}\r\nContent-Length: ${second}`
    expectRefused(await watched.send(post(fields, 'hello')), 400)
  })

  test.each([
    ['twice', 'Content-Length: 5\r\nContent-Length: 5'],
    ['in a list', 'Content-Length: 5, 5'],
    ['in a list without a blank', 'Content-Length: 5,5'],
    ['twice in two spellings', 'Content-Length: 5\r\ncontent-length: 5'],
  ])('is refused when it is given %s (case 8)', async (_what, fields) => {
    expectRefused(await watched.send(post(fields, 'hello')), 400)
  })

  test.each([
    ['a sign', '+5'],
    ['a minus', '-1'],
    ['hexadecimal digits', '0x10'],
    ['an exponent', '1e3'],
    ['a gap', '5 5'],
    ['nothing', ''],
    ['a vertical tab', '5\x0b'],
    ['a NUL', '5\0'],
    ['a point', '5.0'],
    ['quotes', '"5"'],
    ['a list separator', '5,'],
    ['2^64 + 5', String(2n ** 64n + 5n)],
    ['2^63', String(2n ** 63n)],
    ['100 digits', '9'.repeat(100)],
    ['digits of another script', '\xd9\xa5'],
  ])('is refused when it is %s (case 9)', async (_what, length) => {
    expectRefused(await watched.send(post(`Content-Length: ${length}`, 'hello')), 400)
  })
})

describe('a chunked body', () => {
  test('arrives decoded and well framed', async () => {
    const seen = await watched.send(postChunks('5\r\nhello\r\n00A\r\n, good bye\r\n0\r\n\r\n'))
    expectArrived(seen, ['POST /', 'hello, good bye'])
  })

  test.each([
    ['0x', '0x5'],
    ['a sign', '+5'],
    ['a minus', '-1'],
    ['a blank ahead', ' 5'],
    ['a blank behind', '5 '],
    ['a tab behind', '5\t'],
    ['an underscore', '5_0'],
    ['17 digits', '10000000000000005'],
    ['nothing', ''],
    ['a letter that is no digit', 'g'],
    ['a quoted number', '"5"'],
    ['a NUL behind', '5\0'],
  ])('is never whole with %s in the size of a chunk (case 18)', async (_what, size) => {
    expectNeverWhole(await watched.send(postChunks(`${size}\r\nhello\r\n0\r\n\r\n`)), 400)
    expectNeverWhole(await watched.send(postChunks(`5\r\nhello\r\n${size}\r\nhello\r\n0\r\n\r\n`)), 400)
  })

  test.each([
    ['one that never ends', `5;${'a'.repeat(20_000)}`],
    ['one of 17 KiB', `5;a=${'a'.repeat(17_408)}\r\nhello\r\n0\r\n\r\n`],
    ['one with a LF', '5;a="\nb"\r\nhello\r\n0\r\n\r\n'],
    ['one with a CR', '5;a\rb\r\nhello\r\n0\r\n\r\n'],
  ])('is cut off at an extension: %s (case 19)', async (_what, chunks) => {
    expectNeverWhole(await watched.send(postChunks(chunks)), 400)
  })

  test('loses the extensions of its chunks on the way (case 19)', async () => {
    const seen = await watched.send(postChunks('5;a=b;c="d"\r\nhello\r\n0;e\r\n\r\n'))
    expectArrived(seen, ['POST /', 'hello'])
  })

  test.each([
    ['more data than its size', '5\r\nhelloX\r\n0\r\n\r\n'],
    ['less data than its size', '7\r\nhello\r\n0\r\n\r\n'],
    ['no line end behind its data', '5\r\nhello0\r\n\r\n'],
    ['a bare LF behind its data', '5\r\nhello\n0\r\n\r\n'],
    ['a bare CR behind its data', '5\r\nhello\r0\r\n\r\n'],
    ['a bare LF behind its size', '5\nhello\r\n0\r\n\r\n'],
    ['a bare CR behind its size', '5\rhello\r\n0\r\n\r\n'],
    ['two CRs behind its size', '5\r\r\nhello\r\n0\r\n\r\n'],
    ['a bare LF behind the last size', '5\r\nhello\r\n0\n\r\n'],
    ['a bare LF at its very end', '5\r\nhello\r\n0\r\n\n'],
  ])('is never whole with a chunk with %s (case 20)', async (_what, chunks) => {
    expectNeverWhole(await watched.send(postChunks(chunks)), 400)
  })

  test.each(['half-closes', 'resets'] as const)(
    'without its last chunk is never completed when the client %s (case 21)',
    async (leaves) => {
      const seen = await watched.send(postChunks('5\r\nhello\r\n'), { leaves })
      expect(statusesIn(seen).filter((status) => status < 400)).toEqual([])
      expect(seen.requests).toEqual([])
      expect(seen.unfinished).toHaveLength(1)
      expect(seen.unfinished[0]).toContain('hello')
      expect(seen.closed).toBe(true)
    },
  )

  test('arrives without the trailers that would be headers (case 22)', async () => {
    const trailers = 'Host: evil\r\nX-Forwarded-For: 1.2.3.4\r\nAuthorization: Basic x\r\nSum: 1\r\n'
    const seen = await watched.send(postChunks(`5\r\nhello\r\n0\r\n${trailers}\r\n`, 'Trailer: Sum'))
    expectArrived(seen, ['POST /', 'hello'])
    expect(JSON.stringify(seen.requests)).not.toMatch(/evil|1\.2\.3\.4|Basic x|Sum/)
  })

  test.each([
    'Content-Length: 3',
    'Transfer-Encoding: chunked',
    'Content-Length : 3',
    'A: b\r\n c',
    'A\0: b',
  ])('with the trailer %j is never whole (case 22)', async (trailer) => {
    expectNeverWhole(await watched.send(postChunks(`5\r\nhello\r\n0\r\n${trailer}\r\n\r\n`)), 400)
  })

  test.each([
    ['in many lines', 'A: b\r\n'.repeat(10_000)],
    ['in one line', `A: ${'b'.repeat(40_000)}\r\n`],
  ])('with a flood of trailers %s ends the connection (case 23)', async (_what, trailers) => {
    expectNeverWhole(await watched.send(postChunks(`5\r\nhello\r\n0\r\n${trailers}\r\n`)), 431)
  })

  test.each(['DELETE', 'OPTIONS', 'GET', 'HEAD', 'PATCH', 'PUT', 'POST'])(
    'of a %s may hold a request and stays one body (case 24)',
    async (method) => {
      const chunk = `${smuggled.length.toString(16)}\r\n${smuggled}\r\n`
      const head = `${method} / HTTP/1.1\r\n${host}Connection: close\r\nTransfer-Encoding: chunked\r\n\r\n`
      const seen = await watched.send(`${head}${chunk}0\r\n\r\n`)
      expectArrived(seen, [`${method} /`, smuggled])
    },
  )
})

describe('bytes behind', () => {
  test.each(['GET', 'DELETE', 'OPTIONS', 'HEAD'])(
    'the head of a %s with a length are its body (case 25)',
    async (method) => {
      const head = `${method} / HTTP/1.1\r\n${host}Connection: close\r\nContent-Length: ${smuggled.length}\r\n\r\n`
      expectArrived(await watched.send(head + smuggled), [`${method} /`, smuggled])
    },
  )

  test('a POST without a body are the next request of the same client (case 25)', async () => {
    const first = `POST / HTTP/1.1\r\n${host}Content-Length: 0\r\n\r\n`
    expectArrived(await watched.send(first + get('A: b', '/next')), ['POST /'], ['GET /next'])
  })

  test('a body are the next request, however they are cut (case 25)', async () => {
    const bytes = `POST / HTTP/1.1\r\n${host}Content-Length: 5\r\n\r\nhello${get('A: b', '/next')}`
    for (let cut = bytes.indexOf('hello') - 4; cut < bytes.indexOf('/next') + 6; cut += 1)
      expectArrived(
        await watched.send([bytes.slice(0, cut), bytes.slice(cut)]),
        ['POST /', 'hello'],
        ['GET /next'],
      )
  })

  test('a body that make no sense end the connection, and no other client hears of them (case 25)', async () => {
    const seen = await watched.send(`POST / HTTP/1.1\r\n${host}Content-Length: 5\r\n\r\nhelloX\r\n\r\n`)
    expect(arrivedIn(seen)).toEqual([['POST /', 'hello']])
    expect(seen.unfinished).toEqual([])
    expect(statusesIn(seen)[0]).toBe(200)
    expect(statusesIn(seen).slice(1)).toEqual(seen.answers.length > 1 ? [400] : [])
    expect(seen.closed).toBe(true)
  })

  test.each([
    ['a request', smuggled],
    ['junk', 'NOT HTTP\r\n\r\n'],
    ['a chunk', '0\r\n\r\n'],
  ])('a request that closes its connection are ignored: %s (case 26)', async (_what, bytes) => {
    expectArrived(await watched.send(get() + bytes), ['GET /'])
    expectArrived(await watched.send(post('Content-Length: 5', `hello${bytes}`)), ['POST /', 'hello'])
  })
})

test('the judge of these tests reads a smuggled request as a second one, and an ambiguous one as none', () => {
  const first = `POST / HTTP/1.1\r\n${host}Content-Length: 2\r\n\r\nok`
  expect(readMessages(first + smuggled).messages).toHaveLength(2)
  expect(readMessages(first.replace('\r\n\r\n', '\r\nTransfer-Encoding: chunked\r\n\r\n')).messages).toEqual(
    [],
  )
  expect(readMessages(first.replace('POST / ', 'POST /\x80 ')).messages).toEqual([])
})

/** The mutations of a well-known tool for smuggling (defparam/smuggler), and some more. */
function spellingsOfTransferEncoding(): string[] {
  const plain = [
    'Transfer-Encoding: chunked',
    ' Transfer-Encoding: chunked',
    'Transfer-Encoding:\tchunked',
    'Transfer-Encoding\t:\tchunked',
    'Transfer Encoding: chunked',
    'Transfer_Encoding: chunked',
    'Transfer Encoding:chunked',
    'Transfer-Encoding : chunked',
    'Transfer-Encoding:  chunked',
    'Transfer-Encoding: chunked, cow',
    'Transfer-Encoding: cow, chunked',
    'Content-Encoding: chunked',
    'Transfer-Encoding:\n chunked',
    'Transfer-Encoding:\r\n chunked',
    'Transfer-Encoding: "chunked"',
    "Transfer-Encoding: 'chunked'",
    'Transfer-Encoding: chunk',
    'TrAnSFer-EnCODinG: cHuNkeD',
    'TRANSFER-ENCODING: CHUNKED',
    'Transfer-Encoding: cow\r\nTransfer-Encoding: chunked',
    'Transfer-Encoding: chunked\r\nTransfer-Encoding: cow',
    'Transfer\r-Encoding: chunked',
    'Transfer-Encoding: cow chunked bar',
    'Transfer-Encoding: ch\x96nked',
    'Transf\x82r-Encoding: chunked',
    'X: X\rTransfer-Encoding: chunked',
    'X: X\nTransfer-Encoding: chunked',
    'Transfer-Encoding',
    'Transfer-Encoding chunked',
  ]
  const every = [...bytesFrom(0, 0x20), ...bytesFrom(0x7f, 0xff)].map(charOf)
  const telling = [0, 8, 9, 10, 11, 12, 13, 0x1f, 0x20, 0x7f, 0x85, 0xa0, 0xff].map(charOf)
  return [
    ...plain,
    ...every.flatMap((byte) => [
      `Transfer-Encoding:${byte}chunked`,
      `Transfer-Encoding${byte}: chunked`,
      `${byte}Transfer-Encoding: chunked`,
      `Transfer-Encoding: chunked${byte}`,
    ]),
    ...telling.flatMap((byte) => [
      `X: X${byte}Transfer-Encoding: chunked`,
      `Transfer-Encoding: chunked${byte}X: X`,
      `X: X\r${byte}Transfer-Encoding: chunked`,
      `X: X${byte}\nTransfer-Encoding: chunked`,
      `Transfer-Encoding: chunked\r${byte}X: X`,
      `Transfer-Encoding: chunked${byte}\nX: X`,
      `Transfer${byte}-Encoding: chunked`,
    ]),
  ]
}
