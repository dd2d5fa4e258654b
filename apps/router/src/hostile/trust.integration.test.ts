import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { valuesOf, type Message } from '../testing/messages.ts'
import { get, host, post } from './client-bytes.ts'
import { expectArrived, expectRefused, namesIn, statusesIn } from './verdicts.ts'
import { startWatchedEdge, type WatchedEdge } from './watched-edge.ts'

/*
 * What the app believes of a request because the platform says it, and what is between two hops only.
 */

let watched: WatchedEdge
let trusting: WatchedEdge
beforeAll(async () => {
  watched = await startWatchedEdge()
  trusting = await startWatchedEdge({ env: { BERTH_TRUSTED_PROXIES: '127.0.0.0/8' } })
})
afterAll(() => Promise.all([watched.close(), trusting.close()]))

/** What the platform says of a client on 127.0.0.1, as lower case names and values. */
const saidByPlatform: Record<string, RegExp> = {
  'x-forwarded-for': /^127\.0\.0\.1$/,
  'x-forwarded-proto': /^http$/,
  'x-forwarded-host': /^hello\.localhost$/,
  forwarded: /^for=127\.0\.0\.1;host="hello\.localhost";proto=http$/,
  'x-request-id': /^[0-9a-f]{24}$/,
  traceparent: /^00-[0-9a-f]{32}-[0-9a-f]{16}-01$/,
}

/** Each of them is there once, as the platform says it. */
function expectSaidByPlatform(request: Message | undefined): void {
  for (const [name, value] of Object.entries(saidByPlatform)) {
    const values = request ? valuesOf(request, name) : []
    expect([name, values]).toEqual([name, [expect.stringMatching(value)]])
  }
}

const claims = [
  'X-Forwarded-For: 127.0.0.9',
  'X-Forwarded-Host: evil.example',
  'X-Forwarded-Proto: https',
  'X-Forwarded-Port: 443',
  'X-Forwarded-Prefix: /evil',
  'X-Forwarded-Server: evil',
  'X-Forwarded-Ssl: on',
  'X-Forwarded-Uri: /evil',
  'Forwarded: for=127.0.0.9;host=evil.example;proto=https',
  'X-Real-IP: 127.0.0.9',
  'True-Client-IP: 127.0.0.9',
  'X-Original-URL: /evil',
  'X-Rewrite-URL: /evil',
  'X-Original-Host: evil.example',
  'X-Request-Id: bad id',
  'traceparent: 00-evil',
]

describe('what a client claims about itself', () => {
  test.each(claims)('is replaced or removed: %s (case 57)', async (claim) => {
    const seen = await watched.send(get(claim))
    expectArrived(seen, ['GET /'])
    expectSaidByPlatform(seen.requests[0])
    const value = claim.slice(claim.indexOf(':') + 2)
    expect(seen.requests[0]?.fields.map(([, said]) => said)).not.toContain(value)
  })

  test('is removed in all of its spellings at once, and twice (case 57)', async () => {
    const all = [...claims, ...claims.map((claim) => claim.toUpperCase())]
    const seen = await watched.send(get(all.join('\r\n')))
    expectArrived(seen, ['GET /'])
    expectSaidByPlatform(seen.requests[0])
    expect(JSON.stringify(seen.requests).toLowerCase()).not.toMatch(/evil|127\.0\.0\.9/)
  })

  test('goes on when it is a trusted proxy that says it, once each (case 57)', async () => {
    const seen = await trusting.send(get(claims.join('\r\n')))
    expectArrived(seen, ['GET /'])
    const [request] = seen.requests
    expect(request && valuesOf(request, 'x-forwarded-for')).toEqual(['127.0.0.9, 127.0.0.1'])
    expect(request && valuesOf(request, 'x-forwarded-proto')).toEqual(['https'])
    expect(request && valuesOf(request, 'x-real-ip')).toEqual(['127.0.0.9'])
    expect(namesIn(seen).filter((name) => /original|rewrite|true-client/.test(name))).toEqual([])
  })

  test('with an underscore instead of a hyphen is gone as well (case 59)', async () => {
    const spellings = ['X_Forwarded_For', 'X-Forwarded_For', 'x_forwarded-for', 'X_Real_IP', 'TRUE_CLIENT_IP']
    const more = [
      'X_FORWARDED_PROTO',
      'x_forwarded_host',
      'X_Original_URL',
      'X_Request_Id',
      'X_Berth_Revision',
    ]
    const fields = [...spellings, ...more].map((name) => `${name}: evil`).join('\r\n')
    const seen = await watched.send(get(fields))
    expectArrived(seen, ['GET /'])
    expectSaidByPlatform(seen.requests[0])
    expect(JSON.stringify(seen.requests)).not.toContain('evil')
  })

  test.each([
    'Content_Length: 5',
    'Transfer_Encoding: chunked',
    'Content-Length: 5\r\nTransfer_Encoding: chunked',
  ])('of the framing with an underscore is gone: %j (case 59)', async (fields) => {
    const hasBody = fields.startsWith('Content-')
    const seen = await watched.send(post(fields, hasBody ? 'hello' : ''))
    expectArrived(seen, ['POST /', hasBody ? 'hello' : ''])
    expect(namesIn(seen).filter((name) => name.includes('_'))).toEqual([])
  })
})

describe('Connection', () => {
  const platform = Object.keys(saidByPlatform)
  test.each([...platform, platform.join(', '), platform.join(',').toUpperCase(), 'close, X-Forwarded-For'])(
    'takes nothing away that the platform says: %s (case 58)',
    async (tokens) => {
      const bytes = `GET / HTTP/1.1\r\n${host}Connection: close, ${tokens}\r\nX-Forwarded-For: 127.0.0.9\r\n\r\n`
      const seen = await watched.send(bytes)
      expectArrived(seen, ['GET /'])
      expectSaidByPlatform(seen.requests[0])
    },
  )

  test('takes nothing away that decides who is asked for what (case 58)', async () => {
    const kept = ['Host', 'Content-Length', 'Content-Type', 'Authorization', 'Cookie']
    const fields = 'Content-Length: 5\r\nContent-Type: a/b\r\nAuthorization: Basic x\r\nCookie: a=1'
    const connection = `Connection: ${kept.join(', ')}`
    const seen = await watched.send(post(`${connection}\r\n${fields}`, 'hello'))
    expectArrived(seen, ['POST /', 'hello'])
    for (const name of kept) expect(namesIn(seen)).toContain(name.toLowerCase())
  })

  test('takes nothing away when a trusted proxy sends it, either (case 58)', async () => {
    const bytes = `GET / HTTP/1.1\r\n${host}Connection: close, X-Forwarded-For\r\nX-Forwarded-For: 10.0.0.1\r\n\r\n`
    const seen = await trusting.send(bytes)
    const [request] = seen.requests
    expect(request && valuesOf(request, 'x-forwarded-for')).toEqual(['10.0.0.1, 127.0.0.1'])
  })

  test('takes away what it names otherwise, and itself (case 61)', async () => {
    const bytes = `GET / HTTP/1.1\r\n${host}Connection: X-Hop, close\r\nX-Hop: a\r\nx-hop: b\r\nX-Stays: c\r\n\r\n`
    const seen = await watched.send(bytes)
    expectArrived(seen, ['GET /'])
    expect(namesIn(seen)).toContain('x-stays')
    expect(namesIn(seen)).not.toContain('x-hop')
    expect(seen.requests[0] && valuesOf(seen.requests[0], 'connection')).toEqual([])
  })
})

test.each([
  'X-Berth-Target: 127.0.0.1:1',
  'X-Berth-Revision: rev-2',
  'x-berth-project: other',
  'X-BERTH-REQUEST-START: 0',
  'X-Berth-Bypass: 1',
  'X_Berth_Bypass: 1',
])(
  'a header that only parts of the platform say to each other comes from nobody outside: %s (case 60)',
  async (field) => {
    for (const edge of [watched, trusting]) {
      const seen = await edge.send(get(field))
      expectArrived(seen, ['GET /'])
      expect(namesIn(seen).filter((name) => name.replaceAll('_', '-').startsWith('x-berth'))).toEqual([])
    }
  },
)

test.each([
  ['Keep-Alive: timeout=5', 'keep-alive'],
  ['Proxy-Connection: keep-alive', 'proxy-connection'],
  ['Proxy-Authorization: Basic x', 'proxy-authorization'],
  ['Proxy-Authenticate: Basic', 'proxy-authenticate'],
  ['TE: gzip', 'te'],
  ['TE: trailersx', 'te'],
  ['Trailer: Sum', 'trailer'],
  ['Upgrade: foo', 'upgrade'],
])('what concerns one hop stays here: %s (case 61)', async (field, name) => {
  const seen = await watched.send(get(field))
  expectArrived(seen, ['GET /'])
  expect(namesIn(seen)).not.toContain(name)
})

test.each(['TE: trailers', 'TE: gzip, trailers', 'TE: gzip;q=0.5, Trailers;q=1'])(
  'of %s the app hears of trailers alone (case 61)',
  async (field) => {
    const seen = await watched.send(get(field))
    expectArrived(seen, ['GET /'])
    expect(seen.requests[0] && valuesOf(seen.requests[0], 'te')).toEqual(['trailers'])
  },
)

test.each([
  ['1', `PROXY TCP4 1.2.3.4 5.6.7.8 1 2\r\n${get()}`],
  ['1 of an unknown client', `PROXY UNKNOWN\r\n${get()}`],
  ['2', `\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\x01\x02\x03\x04\x05\x06\x07\x08\0\x01\0\x02${get()}`],
])('a preface of the PROXY protocol, version %s, is no request (case 62)', async (_what, bytes) => {
  expectRefused(await watched.send(bytes), 400)
  expect(statusesIn(await trusting.send(bytes))).toEqual([400])
})

test('a cookie that a sibling has set for the whole domain is only the app’s own matter (case 71)', async () => {
  const seen = await watched.send(
    get('Cookie: BERTH_AFFINITY=evil; __Host-session=a; session=b\r\nCookie: c=d'),
  )
  expectArrived(seen, ['GET /'])
  // The platform has no session on the domain of the services: every byte is the app's, and no cookie comes from here.
  expect(seen.requests[0] && valuesOf(seen.requests[0], 'cookie')).toEqual([
    'BERTH_AFFINITY=evil; __Host-session=a; session=b',
    'c=d',
  ])
  expect(seen.received.toLowerCase()).not.toContain('set-cookie')
})
