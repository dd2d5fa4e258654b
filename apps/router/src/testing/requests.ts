import fc from 'fast-check'
import { anyBytes, field, inPieces, spoiledOf } from './spoiled.ts'

/*
 * Requests of clients as bytes (latin1), one after the other on a connection, well formed and spoiled.
 */

const smuggled = 'GET /smuggled HTTP/1.1\r\nHost: hello.localhost\r\n\r\n'
const method = fc.constantFrom(
  'GET',
  'GET',
  'POST',
  'POST',
  'PUT',
  'DELETE',
  'HEAD',
  'OPTIONS',
  'PATCH',
  'QUERY',
)
const target = fc.constantFrom('/', '/a/../b?c=%00&d', '//x', '/;a=b', 'http://hello.localhost/y', '/"{}"')
const hostLine = fc.constantFrom('Host: hello.localhost\r\n', 'host:HELLO.localhost:80 \r\n')
const connection = fc.constantFrom(
  '',
  '',
  '',
  'Connection: keep-alive\r\n',
  'Connection: close, x\r\n',
  'Connection: Upgrade\r\nUpgrade: h2c\r\n',
  'Connection: Upgrade\r\nUpgrade: websocket\r\n',
)
const expectation = fc.constantFrom('', '', '', '', 'Expect: 100-continue\r\n')
const body = fc.oneof(anyBytes, fc.constant(smuggled), fc.constant('0\r\n\r\n'))

const chunkedBody = fc
  .array(fc.tuple(body, fc.constantFrom('', '', ';a', ';a=b', ';a="b c"')), { maxLength: 3 })
  .chain((chunks) =>
    fc.constantFrom('', '', 'Sum: 1\r\n').map((trailers) => {
      const sized = chunks.filter(([bytes]) => bytes !== '')
      const parts = sized.map(
        ([bytes, extension]) => `${bytes.length.toString(16)}${extension}\r\n${bytes}\r\n`,
      )
      return `${parts.join('')}0\r\n${trailers}\r\n`
    }),
  )

const framed = fc.oneof(
  fc.constant({ framing: '', bytes: '' }),
  body.map((bytes) => ({ framing: `Content-Length: ${bytes.length}\r\n`, bytes })),
  chunkedBody.map((bytes) => ({ framing: 'Transfer-Encoding: chunked\r\n', bytes })),
)

const aRequest = fc
  .record({
    method,
    target,
    hostLine,
    connection,
    expectation,
    before: fc.array(field, { maxLength: 2 }),
    framed,
    after: fc.array(field, { maxLength: 2 }),
  })
  .map(
    ({ method, target, hostLine, connection, expectation, before, framed, after }) =>
      `${method} ${target} HTTP/1.1\r\n${hostLine}${before.join('')}${connection}${expectation}${framed.framing}${after.join('')}\r\n${framed.bytes}`,
  )

const requests = fc.array(aRequest, { minLength: 1, maxLength: 4 }).map((each) => each.join(''))

const spoiledRequests = spoiledOf(requests, [
  smuggled,
  '0\r\n\r\n',
  'Host: evil\r\n',
  'Transfer_Encoding: chunked\r\n',
  'Content-Length: 3',
  'Transfer-Encoding:\x0bchunked\r\n',
  'Connection: Content-Length, Host\r\n',
  'Connection: upgrade\r\nUpgrade: websocket\r\n',
  'Expect: 100-continue\r\n',
  'Expect: foo\r\n',
  ' HTTP/1.1',
  '/1.0',
  'CONNECT a:1 HTTP/1.1\r\nHost: a:1\r\n\r\n',
])

/** The last of its connection, so that whoever is still in step closes it. */
const last = 'GET /last HTTP/1.1\r\nHost: hello.localhost\r\nConnection: close\r\n\r\n'
const andLast = (bytes: string): string => bytes + last

/** All that a client sends on a connection, in pieces. */
export const aConnection = inPieces(requests.map(andLast), 5)
export const anyConnection = inPieces(
  fc.oneof({ weight: 1, arbitrary: requests }, { weight: 4, arbitrary: spoiledRequests }).map(andLast),
  5,
)
