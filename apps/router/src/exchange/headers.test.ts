import { expect, test } from 'vitest'
import { headersForClient, headersForReplica, headerValue, trailersForClient, type Asker } from './headers.ts'

const asker: Asker = {
  address: '10.0.0.9',
  trusted: false,
  scheme: 'http',
  requestId: 'id',
  traceparent: '00-a-b-01',
  continuesTrace: true,
}

test('what concerns one hop is removed, also what Connection names, but never what decides who is asked', () => {
  const raw = [
    'Host',
    'h',
    'Connection',
    'close, X-Hop, Authorization, Host',
    'X-Hop',
    '1',
    'Keep-Alive',
    '5',
  ]
  const sent = headersForReplica([...raw, 'Authorization', 'Bearer x', 'TE', 'trailers, gzip'], asker)
  expect(headerValue(sent, 'x-hop')).toBeUndefined()
  expect(headerValue(sent, 'keep-alive')).toBeUndefined()
  expect(headerValue(sent, 'connection')).toBeUndefined()
  expect(headerValue(sent, 'authorization')).toBe('Bearer x')
  expect(headerValue(sent, 'host')).toBe('h')
  expect(headerValue(sent, 'te')).toBe('trailers')
})

test('a platform header that Connection names is there all the same', () => {
  const sent = headersForReplica(['Host', 'h', 'Connection', 'X-Forwarded-For, X-Request-Id'], asker)
  expect(headerValue(sent, 'x-forwarded-for')).toBe('10.0.0.9')
  expect(headerValue(sent, 'x-request-id')).toBe('id')
})

test('claims of a client about its way here are replaced, look-alikes and internal names dropped', () => {
  const names = [
    'X-Forwarded-For',
    'X-Forwarded-Port',
    'X_Forwarded_Proto',
    'Forwarded',
    'X-Real-IP',
    'X-Berth-A',
  ]
  const sent = headersForReplica(['Host', 'h', ...names.flatMap((name) => [name, 'evil'])], asker)
  expect(sent).not.toContain('evil')
})

test.each(['Transfer_Encoding', 'content_length', 'Keep_Alive', 'proxy_connection'])(
  'an app that takes _ for - sees no %s beside the real framing',
  (name) => {
    const sent = headersForReplica(['Host', 'h', 'Content-Length', '2', name, 'evil', 'x_hop', '1'], asker)
    expect(sent.slice(0, 6)).toEqual(['Host', 'h', 'Content-Length', '2', 'x_hop', '1'])
  },
)

test('the state of a trace goes with the trace that it belongs to, and never with another', () => {
  const raw = ['Host', 'h', 'tracestate', 'vendor=1']
  expect(headerValue(headersForReplica(raw, asker), 'tracestate')).toBe('vendor=1')
  const replaced = headersForReplica(raw, { ...asker, continuesTrace: false })
  expect(headerValue(replaced, 'tracestate')).toBeUndefined()
})

test('what a trusted proxy says of port, prefix and client goes on as it is', () => {
  const raw = ['X-Forwarded-Port', '443', 'X-Forwarded-Prefix', '/shop', 'X-Real-IP', '1.1.1.1']
  const sent = headersForReplica(['Host', 'h', ...raw, 'X_Real_IP', 'evil'], { ...asker, trusted: true })
  expect(sent.slice(2, 8)).toEqual(raw)
  expect(sent).not.toContain('evil')
})

test('a trusted proxy is believed, and its list goes on', () => {
  const raw = [
    'Host',
    'h',
    'X-Forwarded-For',
    '1.1.1.1',
    'X-Forwarded-For',
    '2.2.2.2',
    'X-Forwarded-Proto',
    'https',
  ]
  const sent = headersForReplica(raw, { ...asker, trusted: true, address: 'fd00::1' })
  expect(headerValue(sent, 'x-forwarded-for')).toBe('1.1.1.1, 2.2.2.2, fd00::1')
  expect(headerValue(sent, 'x-forwarded-proto')).toBe('https')
  expect(headerValue(sent, 'forwarded')).toBe('for="[fd00::1]";host="h";proto=http')
})

test('an answer keeps its own headers in order, repeated ones too', () => {
  const raw = ['Set-Cookie', 'a', 'Connection', 'close, x-y', 'X-Y', '1', 'Transfer-Encoding', 'chunked']
  const sent = headersForClient([...raw, 'Set-Cookie', 'b'])
  expect(sent).toEqual(['Set-Cookie', 'a', 'Set-Cookie', 'b', 'Cache-Control', 'private'])
})

test.each([
  [[], 'private'],
  [['public, max-age=60, s-maxage=90'], 'private, max-age=60'],
  [['no-cache', 'PUBLIC'], 'private, no-cache'],
  [['max-age=60, private'], 'max-age=60, private'],
  [['no-store'], 'no-store'],
])('an answer that sets a cookie and says to caches %j says %j', (said, expected) => {
  const raw = ['Set-Cookie', 'a', ...said.flatMap((value) => ['Cache-Control', value])]
  expect(headerValue(headersForClient(raw), 'cache-control')).toBe(expected)
})

test('an answer without a cookie says to caches what the app says', () => {
  expect(headersForClient(['Cache-Control', 'public'])).toEqual(['Cache-Control', 'public'])
  expect(headersForClient(['X-App', 'yes'])).toEqual(['X-App', 'yes'])
})

test('trailers are handed on, but none that had to be known before', () => {
  const raw = [
    'Grpc-Status',
    '0',
    'Sum',
    'a',
    'Sum',
    'b',
    'Set-Cookie',
    'a=1',
    'Content-Type',
    'x',
    'Host',
    'h',
  ]
  const unfit = [
    'Connection',
    'close',
    'X-Forwarded-For',
    '1',
    'Authorization',
    'x',
    'Cache-Control',
    'public',
  ]
  expect(trailersForClient([...raw, ...unfit])).toEqual([
    ['Grpc-Status', '0'],
    ['Sum', 'a'],
    ['Sum', 'b'],
  ])
})
