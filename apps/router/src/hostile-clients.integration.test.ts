import { connect, createServer, type Server } from 'node:net'
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import type { AccessLine } from './exchange/access-line.ts'
import { ask, eventually, sendRaw, startEdge, type Edge } from './testing/edge.ts'
import { aReplica, aRevision } from './testing/routes.ts'

/** An origin that records every byte: what a smuggled request would look like to an app. */
let origin: Server
let arrived = ''
let edge: Edge

beforeAll(async () => {
  origin = createServer((socket) => {
    socket.on('error', () => undefined)
    socket.on('data', (chunk) => {
      arrived += chunk.toString('latin1')
      if (/chunked\r\n/i.test(arrived) && !arrived.endsWith('0\r\n\r\n')) return
      socket.end('HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok')
    })
  })
  await new Promise<void>((resolve) => {
    origin.listen(0, '127.0.0.1', resolve)
  })
  const address = origin.address()
  const port = address !== null && typeof address === 'object' ? address.port : 0
  edge = await startEdge({ revisions: [aRevision({ replicas: [aReplica('r1', port)] })] })
})
afterAll(async () => {
  await edge.close()
  await new Promise((resolve) => {
    origin.close(resolve)
  })
})
beforeEach(() => {
  arrived = ''
})

const host = 'Host: hello.localhost\r\n'
const post = (headers: string, body = '') => `POST / HTTP/1.1\r\n${host}${headers}\r\n\r\n${body}`
const get = (head: string) => `GET / HTTP/1.1\r\n${head}\r\n\r\n`

const refused: [string, string, number][] = [
  ['Content-Length with chunked', post('Content-Length: 5\r\nTransfer-Encoding: chunked', '0\r\n\r\n'), 400],
  ['an unknown coding', post('Transfer-Encoding: xchunked', '0\r\n\r\n'), 400],
  ['two codings', post('Transfer-Encoding: chunked, identity', '0\r\n\r\n'), 400],
  ['chunked after another coding', post('Transfer-Encoding: gzip, chunked', '0\r\n\r\n'), 400],
  ['a coding in quotes', post('Transfer-Encoding: "chunked"', '0\r\n\r\n'), 400],
  ['a coding with a parameter', post('Transfer-Encoding: chunked;q=1', '0\r\n\r\n'), 400],
  ['identity', post('Transfer-Encoding: identity', ''), 400],
  ['an empty coding', post('Transfer-Encoding: ', '0\r\n\r\n'), 400],
  ['two coding headers', post('Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked', '0\r\n\r\n'), 400],
  ['a coding in HTTP/1.0', `POST / HTTP/1.0\r\n${host}Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n`, 400],
  ['two lengths', post('Content-Length: 1\r\nContent-Length: 2', 'ab'), 400],
  ['two equal lengths', post('Content-Length: 1\r\nContent-Length: 1', 'a'), 400],
  ['a list of lengths', post('Content-Length: 1, 1', 'a'), 400],
  ['a length with a sign', post('Content-Length: +1', 'a'), 400],
  ['a negative length', post('Content-Length: -1'), 400],
  ['a hexadecimal length', post('Content-Length: 0x1', 'a'), 400],
  ['a length of 100 digits', post(`Content-Length: ${'9'.repeat(100)}`, 'a'), 400],
  ['a length of 2^64 + 5', post(`Content-Length: ${2n ** 64n + 5n}`, 'hello'), 400],
  ['a length with an exponent', post('Content-Length: 1e3', 'a'), 400],
  ['an empty length', post('Content-Length: '), 400],
  ['a length with a gap', post('Content-Length: 5 5', 'hello'), 400],
  ['a length with a vertical tab', post('Content-Length: 5\x0b', 'hello'), 400],
  ['a space before the first header', `POST / HTTP/1.1\r\n Content-Length: 5\r\n${host}\r\nhello`, 400],
  ['a space before Host', `GET / HTTP/1.1\r\n ${host}\r\n`, 400],
  ['a folded Host', get('Host:\r\n hello.localhost'), 400],
  ['a folded length', post('Content-Length:\r\n 5', 'hello'), 400],
  ['a length that is folded on', post('Content-Length: 5\r\n 5', 'hello'), 400],
  ['a folded coding', post('Transfer-Encoding:\r\n chunked', '0\r\n\r\n'), 400],
  ['any other folded header', get(`${host}A: b\r\n c`), 400],
  ['a space before the colon', post('Content-Length : 1', 'a'), 400],
  ['a tab before the colon', post('Content-Length\t: 1', 'a'), 400],
  ['a space in a header name', get(`${host}A B: c`), 400],
  ['a parenthesis in a header name', get(`${host}A(B: c`), 400],
  ['a byte above ASCII in a header name', get(`${host}A\x80: c`), 400],
  ['an empty header name', get(`${host}: a`), 400],
  ['a space before the method', ` GET / HTTP/1.1\r\n${host}\r\n`, 400],
  ['a header before the request line', `A: b\r\nGET / HTTP/1.1\r\n${host}\r\n`, 400],
  ['a head that ends in a CR', `GET / HTTP/1.1\r\n${host}\r\rXGET /admin HTTP/1.1\r\n${host}\r\n`, 400],
  ['a bare LF', 'GET / HTTP/1.1\nHost: hello.localhost\n\n', 400],
  ['a NUL in a value', get(`${host}A: b\0c`), 400],
  ['a DEL in a value', get(`${host}A: b\x7fc`), 400],
  ['a control byte in a value', get(`${host}A: b\x01c`), 400],
  ['a CR in a value', get(`${host}A: b\rc`), 400],
  ['a chunk size with a sign', post('Transfer-Encoding: chunked', '+5\r\nhello\r\n0\r\n\r\n'), 400],
  ['a chunk size with 0x', post('Transfer-Encoding: chunked', '0x5\r\nhello\r\n0\r\n\r\n'), 400],
  ['a negative chunk size', post('Transfer-Encoding: chunked', '-1\r\nhello\r\n0\r\n\r\n'), 400],
  ['a space before a chunk size', post('Transfer-Encoding: chunked', ' 5\r\nhello\r\n0\r\n\r\n'), 400],
  ['a space after a chunk size', post('Transfer-Encoding: chunked', '5 \r\nhello\r\n0\r\n\r\n'), 400],
  ['an underscore in a chunk size', post('Transfer-Encoding: chunked', '5_0\r\nhello\r\n0\r\n\r\n'), 400],
  [
    'a chunk size of 17 digits',
    post('Transfer-Encoding: chunked', '10000000000000005\r\nhello\r\n0\r\n\r\n'),
    400,
  ],
  ['an empty chunk size', post('Transfer-Encoding: chunked', '\r\nhello\r\n0\r\n\r\n'), 400],
  ['a chunk extension without end', post('Transfer-Encoding: chunked', `5;${'a'.repeat(20_000)}`), 400],
  ['a chunk longer than its size', post('Transfer-Encoding: chunked', '5\r\nhelloX\r\n0\r\n\r\n'), 400],
  ['a chunk without its end', post('Transfer-Encoding: chunked', '5\r\nhello0\r\n\r\n'), 400],
  ['a bare LF after a chunk size', post('Transfer-Encoding: chunked', '5\nhello\r\n0\r\n\r\n'), 400],
  ['a bare LF after a chunk', post('Transfer-Encoding: chunked', '5\r\nhello\n0\r\n\r\n'), 400],
  ['a length in a trailer', post('Transfer-Encoding: chunked', '0\r\nContent-Length: 3\r\n\r\n'), 400],
  [
    'a coding in a trailer',
    post('Transfer-Encoding: chunked', '0\r\nTransfer-Encoding: chunked\r\n\r\n'),
    400,
  ],
  ['trailers without end', post('Transfer-Encoding: chunked', `0\r\n${'A: b\r\n'.repeat(10_000)}`), 431],
  ['no Host', 'GET / HTTP/1.1\r\nA: b\r\n\r\n', 400],
  ['two Hosts', get('Host: hello.localhost\r\nHost: hello.localhost'), 400],
  ['an empty Host', get('Host: '), 400],
  ['a Host with a user', get('Host: a@hello.localhost'), 400],
  ['a Host with a path', get('Host: hello.localhost/x'), 400],
  ['a Host with a list', get('Host: hello.localhost, evil'), 400],
  ['a Host with a space', get('Host: hello .localhost'), 400],
  ['a Host with port 0', get('Host: hello.localhost:0'), 400],
  ['a Host with a port of letters', get('Host: hello.localhost:abc'), 400],
  ['a Host with an empty port', get('Host: hello.localhost:'), 400],
  ['a Host with half a bracket', get('Host: [::1'), 400],
  ['a Host with an escape', get('Host: hello%00.localhost'), 400],
  ['a Host with port 99999', get('Host: hello.localhost:99999'), 400],
  ['a Host that is no ASCII', get('Host: h\xe9llo.localhost'), 400],
  ['an absolute target of another host', `GET http://evil.localhost/ HTTP/1.1\r\n${host}\r\n`, 400],
  ['a fragment', `GET /a#b HTTP/1.1\r\n${host}\r\n`, 400],
  ['a byte above ASCII in the target', `GET /\xe4 HTTP/1.1\r\n${host}\r\n`, 400],
  ['a GET of *', `GET * HTTP/1.1\r\n${host}\r\n`, 400],
  ['an authority as target', `GET hello.localhost HTTP/1.1\r\n${host}\r\n`, 400],
  ['CONNECT', `CONNECT hello.localhost:80 HTTP/1.1\r\n${host}\r\n`, 405],
  ['TRACE', `TRACE / HTTP/1.1\r\n${host}\r\n`, 405],
  ['a method of 1 KiB', `${'A'.repeat(1024)} / HTTP/1.1\r\n${host}\r\n`, 400],
  ['a method in lower case', `get / HTTP/1.1\r\n${host}\r\n`, 400],
  ['a method that is no token', `G@T / HTTP/1.1\r\n${host}\r\n`, 400],
  ['a method that nobody knows', `FOO / HTTP/1.1\r\n${host}\r\n`, 400],
  ['HTTP/0.9', 'GET /\r\n\r\n', 400],
  ['HTTP/1.2', `GET / HTTP/1.2\r\n${host}\r\n`, 400],
  ['HTTP/1.1x', `GET / HTTP/1.1x\r\n${host}\r\n`, 400],
  ['a tab in the request line', `GET\t/ HTTP/1.1\r\n${host}\r\n`, 400],
  ['HTTP/9.9', `GET / HTTP/9.9\r\n${host}\r\n`, 400],
  ['a preface of HTTP/2 with a Host', `PRI * HTTP/2.0\r\n${host}\r\nSM\r\n\r\n`, 400],
  ['a PROXY preface', `PROXY TCP4 1.2.3.4 1.2.3.4 1 2\r\n${get(host)}`, 400],
  ['a target of 64 KiB', `GET /${'a'.repeat(65_536)} HTTP/1.1\r\n${host}\r\n`, 414],
  ['a target of 9 KiB', `GET /${'a'.repeat(9216)} HTTP/1.1\r\n${host}\r\n`, 414],
  ['a header block of 17 KiB', get(`${host}A: ${'a'.repeat(17_408)}`), 431],
  ['101 headers', get(`${host}${Array.from({ length: 100 }, (_, i) => `A${i}: b`).join('\r\n')}`), 431],
  ['another expectation', post('Expect: foo\r\nContent-Length: 1', 'a'), 417],
]

describe('the app sees nothing of a request that could be read in two ways', () => {
  test.each(refused)('%s', async (_what, bytes, status) => {
    const answer = await sendRaw(edge.port, Buffer.from(bytes, 'latin1'))
    expect(answer.split('\r\n', 1)[0]).toMatch(new RegExp(`^HTTP/1.1 ${status} `))
    expect(answer).toMatch(/\r\nconnection: close\r\n/i)
    // A chunk that is malformed is noticed while the head may be on its way: what counts is that it never ends.
    if (arrived !== '') expect(arrived).not.toContain('0\r\n\r\n')
  })
})

test('no spelling of Transfer-Encoding gets through beside a length', async () => {
  const bytes = Array.from({ length: 256 }, (_, code) => String.fromCharCode(code))
  const spellings = [
    ...bytes.flatMap((byte) => [`Transfer-Encoding:${byte}chunked`, `Transfer-Encoding: chunked${byte}`]),
    ...[' ', '\t', '\r', '\0', '\x0b', '\x85', '\xa0'].flatMap((byte) => [
      `Transfer-Encoding${byte}: chunked`,
      `Transfer${byte}-Encoding: chunked`,
      `${byte}Transfer-Encoding: chunked`,
    ]),
    'X: y\nTransfer-Encoding: chunked',
    'X: y\rTransfer-Encoding: chunked',
  ]
  const answers = await Promise.all(
    spellings.map((spelling) =>
      sendRaw(edge.port, Buffer.from(post(`Content-Length: 5\r\n${spelling}`, '0\r\n\r\n'), 'latin1')),
    ),
  )
  expect(spellings.filter((_, i) => !answers[i]?.startsWith('HTTP/1.1 400 '))).toEqual([])
  expect(arrived).toBe('')
})

describe('the parser gives up on what never becomes a request', () => {
  test('a head that does not come whole in 10 s is 408, a connection that never said anything just ends', async () => {
    const [slow, silent] = await Promise.all([
      sendRaw(edge.port, 'GET / HTTP/1.1\r\nHost: hello'),
      sendRaw(edge.port, ''),
    ])
    expect(slow).toMatch(/^HTTP\/1.1 408 [^]*\r\nconnection: close\r\n[^]*"code":"request-incomplete"/)
    expect(silent).toBe('')
  })

  test('its answers are counted and written down like any other', async () => {
    const lines: AccessLine[] = []
    const write = (line: string) => void lines.push(JSON.parse(line) as AccessLine)
    const logged = await startEdge({}, {}, { write, droppedLines: 0 })
    const answer = await sendRaw(logged.port, 'NOT HTTP\r\n\r\n')
    const [line] = lines.filter(({ outcome }) => outcome === 'refused')
    expect(line).toMatchObject({ status: 400, code: 'malformed-request' })
    expect(answer).toContain(`"requestId":"${line?.requestId}"`)
    const { body } = await ask({ port: logged.router.adminPort, path: '/metrics' })
    expect(body).toContain('berth_router_requests_total{project="",service="",status="4xx"} 1')
    await logged.close()
  })
})

describe('one request arrives, well framed, where it is harmless', () => {
  test('a DELETE whose chunked body holds a second request', async () => {
    const inner = `GET /admin HTTP/1.1\r\n${host}\r\n`
    const body = `${inner.length.toString(16)}\r\n${inner}\r\n0\r\n\r\n`
    const head = `DELETE / HTTP/1.1\r\n${host}Connection: close\r\nTransfer-Encoding: chunked\r\n\r\n`
    expect(await sendRaw(edge.port, head + body)).toContain('HTTP/1.1 200 OK')
    await eventually(() => arrived.includes(inner))
    const [sent = '', rest = ''] = arrived.split(/\r\n\r\n([^]*)/)
    // Exactly one way to tell where the body ends, and the second request inside of it.
    expect(sent.toLowerCase().match(/\r\n(transfer-encoding: chunked|content-length: [0-9]+)/g)).toHaveLength(
      1,
    )
    const length = /content-length: ([0-9]+)/i.exec(sent)?.[1]
    expect(length === undefined ? rest.startsWith('2e\r\n') : Number(length) === inner.length).toBe(true)
  })

  test('an absolute target of the same host becomes a path', async () => {
    await sendRaw(edge.port, `GET http://hello.localhost/x?y HTTP/1.1\r\n${host}Connection: close\r\n\r\n`)
    expect(arrived).toMatch(/^GET \/x\?y HTTP\/1.1\r\n/)
  })

  test.each([
    ['two spaces after the method', `GET  /x HTTP/1.1\r\n${host}Connection: close\r\n\r\n`],
    ['two spaces after the target', `GET /x  HTTP/1.1\r\n${host}Connection: close\r\n\r\n`],
    ['empty lines ahead', `\r\n\r\nGET /x HTTP/1.1\r\n${host}Connection: close\r\n\r\n`],
    ['a Host in capitals', 'GET /x HTTP/1.1\r\nHost: HELLO.LocalHost\r\nConnection: close\r\n\r\n'],
    ['a Host with its dot', 'GET /x HTTP/1.1\r\nHost: hello.localhost.\r\nConnection: close\r\n\r\n'],
    [
      'an upgrade that Connection does not name',
      `GET /x HTTP/1.1\r\n${host}Upgrade: websocket\r\nConnection: close\r\n\r\n`,
    ],
  ])('%s', async (_what, bytes) => {
    expect(await sendRaw(edge.port, bytes)).toMatch(/^HTTP\/1.1 200 OK\r\n/)
    expect(arrived).toMatch(/^GET \/x HTTP\/1.1\r\nhost: hello.localhost\.?\r\n/i)
    expect(arrived.match(/HTTP\/1.1\r\n/g)).toHaveLength(1)
    expect(arrived.toLowerCase()).not.toContain('upgrade')
  })

  test('a target in all its ugliness, byte for byte', async () => {
    const target = '//../%2e%2e/%00\\;a=b?%zz"<>|{}^`'
    await sendRaw(edge.port, `GET ${target} HTTP/1.1\r\n${host}Connection: close\r\n\r\n`)
    expect(arrived.split('\r\n')[0]).toBe(`GET ${target} HTTP/1.1`)
  })

  test('header names that mean something to JavaScript, and bytes above ASCII in a value', async () => {
    const odd = '__proto__: a\r\n__proto__: b\r\nconstructor: c\r\nhasOwnProperty: d\r\nX: \x80\xff'
    await sendRaw(edge.port, Buffer.from(get(`${host}Connection: close\r\n${odd}`), 'latin1'))
    expect(arrived).toContain(`\r\n${odd}\r\n`)
  })

  test('what concerns one hop only stays here', async () => {
    const hop =
      'Keep-Alive: timeout=5\r\nProxy-Connection: close\r\nProxy-Authorization: Basic x\r\nTrailer: A\r\nUpgrade: foo'
    await sendRaw(edge.port, get(`${host}${hop}\r\nTE: gzip, trailers\r\nConnection: close`))
    expect(arrived.toLowerCase()).not.toMatch(/keep-alive:|proxy-|trailer:|upgrade|gzip/)
    expect(arrived).toMatch(/\r\nte: trailers\r\n/)
  })

  test('OPTIONS * is answered here', async () => {
    const answer = await sendRaw(edge.port, `OPTIONS * HTTP/1.1\r\n${host}Connection: close\r\n\r\n`)
    expect(answer).toMatch(/^HTTP\/1.1 404 /)
    expect(arrived).toBe('')
  })

  test('trailers of the client go nowhere', async () => {
    const trailers = 'Host: evil\r\nX-Forwarded-For: 1.2.3.4\r\nAuthorization: Basic x\r\n'
    const body = `5\r\nhello\r\n0\r\n${trailers}\r\n`
    const answer = await sendRaw(edge.port, post('Connection: close\r\nTransfer-Encoding: chunked', body))
    expect(answer).toContain('200 OK')
    expect(arrived).toContain('hello')
    expect(arrived).not.toMatch(/evil|1\.2\.3\.4|Basic x/)
  })

  test('a GET with a body keeps it', async () => {
    await sendRaw(edge.port, `${get(`${host}Connection: close\r\nContent-Length: 5`)}hello`)
    expect(arrived).toMatch(/\r\ncontent-length: 5\r\n(?:[^]*\r\n)?\r\nhello$/i)
  })

  test('what follows a request without a body is the next request of the same client', async () => {
    const next = `GET /next HTTP/1.1\r\n${host}Connection: close\r\n\r\n`
    const answer = await sendRaw(edge.port, post('Content-Length: 0', next))
    expect(answer.match(/HTTP\/1.1 200 OK/g)).toHaveLength(2)
    expect(arrived.match(/^(POST \/|GET \/next) HTTP\/1.1\r$/gm)).toHaveLength(2)
  })

  test('what follows a request that closes its connection is no request', async () => {
    const answer = await sendRaw(edge.port, get(`${host}Connection: close`) + get(host.trimEnd()))
    expect(answer.match(/HTTP\/1.1 /g)).toHaveLength(1)
    expect(arrived.match(/HTTP\/1.1\r\n/g)).toHaveLength(1)
  })

  test('100 headers, none of them dropped', async () => {
    const many = Array.from({ length: 98 }, (_, i) => `A${i}: b`).join('\r\n')
    await sendRaw(edge.port, get(`${host}Connection: close\r\n${many}`))
    expect(arrived.match(/^A[0-9]+: b\r$/gm)).toHaveLength(98)
  })

  test('h2c is not passed on', async () => {
    const answer = await sendRaw(
      edge.port,
      get(`${host}Connection: Upgrade, HTTP2-Settings, close\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk`),
    )
    expect(answer).toContain('200 OK')
    expect(arrived.toLowerCase()).not.toMatch(/upgrade|http2-settings/)
  })

  test('an upgrade with a body stays plain HTTP', async () => {
    const head = `${host}Connection: upgrade, close\r\nUpgrade: websocket\r\nContent-Length: 5`
    expect(await sendRaw(edge.port, `${get(head)}hello`)).toContain('200 OK')
    expect(arrived.toLowerCase()).not.toContain('upgrade')
  })

  test('an upgrade that is pipelined behind a request stays plain HTTP, and both are answered', async () => {
    const wish = `${host}Connection: Upgrade, close\r\nUpgrade: websocket`
    const answer = await sendRaw(edge.port, get(host.trimEnd()) + get(wish))
    expect(answer.match(/HTTP\/1.1 200 OK\r\n/g)).toHaveLength(2)
    expect(arrived.toLowerCase()).not.toContain('upgrade')
  })

  test('a client that goes in the middle of a chunked body never completes it', async () => {
    const socket = connect(edge.port, '127.0.0.1')
    socket.write(post('Transfer-Encoding: chunked', '5\r\nhello\r\n'))
    await eventually(() => arrived.includes('hello'))
    socket.destroy()
    await eventually(() => edge.leader.last('report')?.revisions.every(({ inFlight }) => inFlight === 0))
    expect(arrived).not.toContain('0\r\n\r\n')
  })
})
