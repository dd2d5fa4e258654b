import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { startApp, type App } from '../testing/edge.ts'
import { valuesOf } from '../testing/messages.ts'
import { aHost, aReplica, aRevision } from '../testing/routes.ts'
import { bareGet, get, host } from './client-bytes.ts'
import { expectArrived, expectRefused, expectRefusedOrArrived, statusesIn } from './verdicts.ts'
import { startWatchedEdge, type WatchedEdge } from './watched-edge.ts'

/*
 * The request line and the Host: which service is asked, and what for.
 */

let watched: WatchedEdge
let other: App
let askedOther: string[]
beforeAll(async () => {
  askedOther = []
  other = await startApp((request, response) => {
    askedOther.push(`${request.method} ${request.url}`)
    response.end('other')
  })
  watched = await startWatchedEdge()
  const { edge, origin } = watched
  const toOther = [{ revision: 'rev-2', percent: 100 }]
  edge.publish({
    hosts: [aHost(), aHost({ host: 'other.localhost', service: 'other', targets: toOther })],
    revisions: [
      aRevision({ concurrency: 1, replicas: [aReplica('r1', origin.port)] }),
      aRevision({ uid: 'rev-2', service: 'other', replicas: [aReplica('r2', other.port)] }),
    ],
  })
})
afterAll(async () => {
  await watched.close()
  await other.close()
})

const closing = 'Connection: close\r\n\r\n'

describe('a request line', () => {
  test.each([
    ['HTTP/0.9', 'GET /\r\n\r\n'],
    ['HTTP/0.9 with a version', `GET / HTTP/0.9\r\n${host}${closing}`],
    ['HTTP/1.2', `GET / HTTP/1.2\r\n${host}${closing}`],
    ['HTTP/9.9', `GET / HTTP/9.9\r\n${host}${closing}`],
    ['HTTP/2.0', `GET / HTTP/2.0\r\n${host}${closing}`],
    ['HTTP/2.0 and chunks', `POST / HTTP/2.0\r\n${host}Transfer-Encoding: chunked\r\n${closing}0\r\n\r\n`],
    ['HTTP/1.1x', `GET / HTTP/1.1x\r\n${host}${closing}`],
    ['HTTP/1.10', `GET / HTTP/1.10\r\n${host}${closing}`],
    ['HTTP/1,1', `GET / HTTP/1,1\r\n${host}${closing}`],
    ['HTTP/01.1', `GET / HTTP/01.1\r\n${host}${closing}`],
    ['http/1.1', `GET / http/1.1\r\n${host}${closing}`],
    ['HTTPS/1.1', `GET / HTTPS/1.1\r\n${host}${closing}`],
    ['a blank behind the version', `GET / HTTP/1.1 \r\n${host}${closing}`],
    ['a tab behind the method', `GET\t/ HTTP/1.1\r\n${host}${closing}`],
    ['a tab behind the target', `GET /\tHTTP/1.1\r\n${host}${closing}`],
    ['a blank in the target', `GET /a b HTTP/1.1\r\n${host}${closing}`],
    ['two versions', `GET / HTTP/1.1 HTTP/1.1\r\n${host}${closing}`],
    ['no target', `GET HTTP/1.1\r\n${host}${closing}`],
    ['an empty target', `GET  HTTP/1.1\r\n${host}${closing}`],
  ])('with %s is refused (case 36)', async (_what, bytes) => {
    expectRefused(await watched.send(bytes), 400)
  })

  test.each([
    ['the method', `GET  /x HTTP/1.1\r\n${host}${closing}`],
    ['the target', `GET /x  HTTP/1.1\r\n${host}${closing}`],
  ])(
    'with two blanks behind %s is refused, or means the same to everybody (case 36)',
    async (_what, bytes) => {
      expectRefusedOrArrived(await watched.send(bytes), 'GET /x')
    },
  )

  test('of HTTP/1.0 arrives as HTTP/1.1, and its connection ends (case 36)', async () => {
    expectArrived(await watched.send(`GET /x HTTP/1.0\r\n${host}\r\n`), ['GET /x'])
  })
})

describe('a target in absolute form', () => {
  test.each([
    'http://other.localhost/',
    'http://evil/',
    'http://hello.localhost.evil/',
    'http://hello.localhost@other.localhost/',
    'http://other.localhost#hello.localhost/',
    'http://other.localhost\\@hello.localhost/',
    'http:///',
    'http://hello.localhost:0/',
    'https://hello.localhost/',
    'ftp://hello.localhost/',
    'http:/x',
    'http:x',
  ])('is refused unless it names the Host: %s (case 37)', async (target) => {
    expectRefused(await watched.send(get('A: b', target)), 400)
    expect(askedOther).toEqual([])
  })

  test.each([
    ['http://hello.localhost/x?y', '/x?y'],
    ['HTTP://HELLO.localhost./x', '/x'],
    ['http://hello.localhost:8080/x', '/x'],
    ['http://hello.localhost', '/'],
  ])('of the same host becomes a path: %s (case 37)', async (target, path) => {
    expectArrived(await watched.send(get('A: b', target)), [`GET ${path}`])
  })
})

describe('a target in another form is refused', () => {
  test.each(['GET', 'POST', 'PUT', 'DELETE'])('* of a %s (case 38)', async (method) => {
    expectRefused(await watched.send(`${method} * HTTP/1.1\r\n${host}${closing}`), 400)
  })

  test.each(['hello.localhost', 'hello.localhost:80', 'x', '?x', '../x'])(
    '%s of a GET (case 38)',
    async (target) => {
      expectRefused(await watched.send(get('A: b', target)), 400)
    },
  )

  test('* of an OPTIONS is for the router, which says 404 (case 38)', async () => {
    const seen = await watched.send(`OPTIONS * HTTP/1.1\r\n${host}${closing}`)
    expect(statusesIn(seen)).toEqual([404])
    expect(seen.requests).toEqual([])
  })

  test.each(['hello.localhost:80', '127.0.0.1:22', '*', '/', 'http://hello.localhost/'])(
    'CONNECT %s, which never opens a tunnel (case 39)',
    async (target) => {
      const seen = await watched.send([`CONNECT ${target} HTTP/1.1\r\n${host}\r\n`, get('A: b', '/behind')])
      expect(statusesIn(seen)).toHaveLength(1)
      expect([400, 405]).toContain(statusesIn(seen)[0])
      expect(seen.requests).toEqual([])
      expect(seen.unfinished).toEqual([])
      expect(seen.closed).toBe(true)
    },
  )

  test('CONNECT of a host and port is 405 (case 39)', async () => {
    const seen = await watched.send(`CONNECT hello.localhost:80 HTTP/1.1\r\n${host}\r\n`)
    expectRefused(seen, 405)
    expect(valuesOf(seen.answers[0] ?? { start: '', fields: [], body: '' }, 'allow')).toHaveLength(1)
  })

  test.each(['TRACE', 'TRACE / HTTP/1.1\r\nMax-Forwards: 0'])('%j (case 40)', async (method) => {
    const line = method.includes(' ') ? method : `${method} / HTTP/1.1`
    expectRefused(await watched.send(`${line}\r\n${host}Cookie: secret\r\n${closing}`), 405)
  })

  test.each([
    `PRI * HTTP/2.0\r\n${host}\r\nSM\r\n\r\n`,
    'PRI * HTTP/2.0\r\n\r\nSN\r\n\r\n',
    'PRI / HTTP/2.0\r\n\r\nSM\r\n\r\n',
    `PRI * HTTP/1.1\r\n${host}\r\nSM\r\n\r\n`,
  ])('of HTTP/2 that is no preface of it: %j (case 41)', async (bytes) => {
    expectRefused(await watched.send(bytes), 400)
  })

  test('behind a preface of HTTP/2, where frames are spoken (case 41)', async () => {
    const settings = '\0\0\0\x04\0\0\0\0\0'
    const seen = await watched.send(`PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n${settings}${get()}`)
    expect(seen.received.slice(3, 9)).toBe('\x04\0\0\0\0\0')
    expect(seen.received).not.toContain('HTTP/1.1')
    expect(seen.requests).toEqual([])
    expect(seen.unfinished).toEqual([])
    expect(seen.closed).toBe(true)
  })

  test.each([
    ['1 KiB of letters', 'A'.repeat(1024)],
    ['100 KiB of letters', 'A'.repeat(102_400)],
    ['lower case', 'get'],
    ['mixed case', 'Get'],
    ['no token', 'G@T'],
    ['a byte above ASCII', 'G\xc9T'],
    ['a colon', 'GET:'],
    ['quotes', '"GET"'],
    ['nobody knows', 'FOO'],
    ['one more letter', 'GETX'],
    ['one letter less', 'GE'],
    ['TRACK', 'TRACK'],
  ])('of a method that is %s (case 42)', async (_what, method) => {
    expectRefused(await watched.send(`${method} / HTTP/1.1\r\n${host}${closing}`), 400)
  })

  test.each(['/a#b', '/#', '/?a#b', 'http://hello.localhost/#a'])(
    'with a fragment: %s (case 43)',
    async (target) => {
      expectRefused(await watched.send(get('A: b', target)), 400)
    },
  )
})

describe('a Host is refused', () => {
  test.each([
    ['missing', 'A: b'],
    ['there twice', 'Host: hello.localhost\r\nHost: hello.localhost'],
    ['there twice and different', 'Host: hello.localhost\r\nA: b\r\nhost: other.localhost'],
    ['empty', 'Host: '],
    ['a blank', 'Host:  \t '],
    ['empty beside another', 'Host: hello.localhost\r\nHost: '],
  ])('when it is %s (case 44)', async (_what, fields) => {
    expectRefused(await watched.send(bareGet(`${fields}\r\nConnection: close`)), 400)
  })

  test('when it is missing in HTTP/1.0 (case 44)', async () => {
    expectRefused(await watched.send('GET / HTTP/1.0\r\n\r\n'), 400)
  })

  test.each([
    ['a user', 'a@hello.localhost'],
    ['a user and a password', 'a:b@hello.localhost'],
    ['a path', 'hello.localhost/x'],
    ['a query', 'hello.localhost?x'],
    ['a fragment', 'hello.localhost#x'],
    ['a backslash', 'hello.localhost\\x'],
    ['a scheme', 'http://hello.localhost'],
    ['a list', 'hello.localhost, evil'],
    ['a blank', 'hello .localhost'],
    ['a tab', 'hello\t.localhost'],
    ['port 0', 'hello.localhost:0'],
    ['port 99999', 'hello.localhost:99999'],
    ['a port of letters', 'hello.localhost:abc'],
    ['an empty port', 'hello.localhost:'],
    ['a port with a sign', 'hello.localhost:+80'],
    ['two ports', 'hello.localhost:80:80'],
    ['half a bracket', '[::1'],
    ['an escape', 'hello%00.localhost'],
    ['an escaped letter', 'h%65llo.localhost'],
    ['a NUL', 'hello.localhost\0'],
    ['two dots', 'hello..localhost'],
    ['a dot ahead', '.hello.localhost'],
    ['a wildcard', '*.localhost'],
    ['an underscore', 'hel_lo.localhost'],
    ['quotes', '"hello.localhost"'],
    ['300 letters', 'a'.repeat(300)],
  ])('with %s (case 45)', async (_what, name) => {
    expectRefused(await watched.send(bareGet(`Host: ${name}\r\nConnection: close`)), 400)
  })

  test.each([
    'h\xe9llo.localhost',
    'h\xc3\xa9llo.localhost',
    'hello\xe3\x80\x82localhost',
    'hello.localhost\xa0',
  ])('with bytes above ASCII: %j (case 47)', async (name) => {
    expectRefused(await watched.send(bareGet(`Host: ${name}\r\nConnection: close`)), 400)
  })
})

describe('a Host leads', () => {
  test.each([
    'hello.localhost.',
    'HELLO.LocalHost',
    'hello.localhost:8080',
    'Hello.localhost.:1',
    ' hello.localhost ',
  ])('to the same service as %j (case 46)', async (name) => {
    const seen = await watched.send(bareGet(`Host: ${name}\r\nConnection: close`))
    expectArrived(seen, ['GET /'])
    const [request] = seen.requests
    expect(request && valuesOf(request, 'host')).toEqual([name.trim()])
  })

  test.each([
    '127.0.0.1',
    '[::1]',
    'localhost',
    '0.0.0.0',
    '2130706433',
    '0x7f.1',
    'nobody.localhost',
    'admin.localhost',
    'router',
    'berth',
    '169.254.169.254',
  ])('nowhere when it is %s, and to no page of the router itself (case 48)', async (name) => {
    const { adminPort } = watched.edge.router
    for (const path of ['/', '/metrics', '/healthz', '/readyz', '/admin'])
      for (const port of ['', `:${adminPort}`]) {
        const head = `GET ${path} HTTP/1.1\r\nHost: ${name}${port}\r\nConnection: close\r\n\r\n`
        const seen = await watched.send(head)
        expect(statusesIn(seen)).toEqual([404])
        expect(seen.received).toContain('"code":"unknown-host"')
        expect(seen.received).not.toMatch(/berth_router|x-berth-pid/)
        expect(seen.requests).toEqual([])
      }
  })

  test.each([
    'evilhello.localhost',
    'hello.localhost.evil',
    'a.hello.localhost',
    'hello.localhost.localhost',
    'hellolocalhost',
    'hello-localhost',
    'hello',
    'localhost.hello',
    'hello.localhos',
    'canary---hello.localhost',
    'hello--default.localhost',
  ])('nowhere when it only looks like that of a service: %s (case 49)', async (name) => {
    const seen = await watched.send(bareGet(`Host: ${name}\r\nConnection: close`))
    expect(statusesIn(seen)).toEqual([404])
    expect(seen.requests).toEqual([])
    expect(askedOther).toEqual([])
  })
})

describe('a path', () => {
  test.each([
    '//',
    '//evil.com/',
    '/../',
    '/../../etc/passwd',
    '/./',
    '/%2e%2e/',
    '/%2E%2e%2f',
    '/%00',
    '/\\',
    '/;a=b',
    '/%ff%fe',
    '/%zz',
    '/%',
    '/?',
    '/?%zz',
    '/?a=b&a=c&&',
    '/?a?b',
    '/"<>|{}^`',
    '/a%20b+c',
    '/http://other.localhost/',
    '/@other.localhost',
  ])('reaches the app byte for byte: %s (case 53)', async (path) => {
    expectArrived(await watched.send(get('A: b', path)), [`GET ${path}`])
  })

  test.each(['/\xe4', '/\xff\xfe', '/?\xc3\xa4', '/\x7f', '/\0', '/a\x0bb'])(
    'with bytes that no path may have is refused: %j (case 53)',
    async (path) => {
      expectRefused(await watched.send(get('A: b', path)), 400)
    },
  )

  test.each(['/healthz', '/readyz', '/metrics', '/openapi.json', '/docs', '/.well-known/acme-challenge/x'])(
    'that the platform uses elsewhere belongs to the app here: %s (case 53)',
    async (path) => {
      expectArrived(await watched.send(get('A: b', path)), [`GET ${path}`])
    },
  )
})
