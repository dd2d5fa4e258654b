import fc from 'fast-check'
import { anyBytes, field, inPieces, spoiledOf } from './spoiled.ts'

/*
 * Answers of replicas as bytes (latin1), well formed and spoiled, for what reads them.
 */

const chunkExtension = fc.constantFrom('', '', ';a', ';a=b', ';a="b c"')

const chunkedBody = fc
  .record({
    chunks: fc.array(fc.tuple(anyBytes, chunkExtension), { maxLength: 4 }),
    trailers: fc.array(field, { maxLength: 2 }),
  })
  .map(({ chunks, trailers }) => {
    const sized = chunks.filter(([bytes]) => bytes !== '')
    const parts = sized.map(
      ([bytes, extension]) => `${bytes.length.toString(16)}${extension}\r\n${bytes}\r\n`,
    )
    return `${parts.join('')}0\r\n${trailers.join('')}\r\n`
  })

const framed = fc.oneof(
  anyBytes.map((bytes) => ({ framing: `Content-Length: ${bytes.length}\r\n`, bytes })),
  chunkedBody.map((bytes) => ({ framing: 'Transfer-Encoding: chunked\r\n', bytes })),
  anyBytes.map((bytes) => ({ framing: '', bytes })),
)

const informational = fc.constantFrom(
  'HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n',
  'HTTP/1.1 102 Processing\r\n\r\n',
  'HTTP/1.1 100 Continue\r\n\r\n',
)
const statusLine = fc.constantFrom(
  'HTTP/1.1 200 OK',
  'HTTP/1.1 404 Not Found',
  'HTTP/1.1 204 No Content',
  'HTTP/1.1 304 ',
  'HTTP/1.1 500 Gemacht \xe2\x9c\x93',
  'HTTP/1.0 200 OK',
)
const connection = fc.constantFrom('', '', 'Connection: close\r\n', 'Connection: keep-alive\r\n')

/** A well formed answer to a GET; the end of the connection may be a part of it. */
export const anAnswer = fc
  .record({
    informational: fc.array(informational, { maxLength: 2 }),
    statusLine,
    connection,
    before: fc.array(field, { maxLength: 3 }),
    framed,
    after: fc.array(field, { maxLength: 2 }),
  })
  .map(
    ({ informational, statusLine, connection, before, framed, after }) =>
      `${informational.join('')}${statusLine}\r\n${before.join('')}${connection}${framed.framing}${after.join('')}\r\n${framed.bytes}`,
  )
  // HTTP/1.0 has no transfer coding.
  .filter((bytes) => !/HTTP\/1\.0[^]*\r\nTransfer-Encoding/.test(bytes))

/** An answer of which up to three places were changed. */
const aSpoiledAnswer = spoiledOf(anAnswer, [
  'Connection: upgrade\r\nUpgrade: websocket\r\n',
  'HTTP/1.1 200 OK\r\n\r\n',
  'HTTP/1.1 101 Switching Protocols\r\n\r\n',
])

export const anyAnswer = fc.oneof(anAnswer, aSpoiledAnswer)

/** Any of them, and the same bytes in pieces. */
export const anAnswerInPieces = inPieces(anyAnswer)
