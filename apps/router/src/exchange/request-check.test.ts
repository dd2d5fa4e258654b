import { describe, expect, test } from 'vitest'
import { standardLimits } from '../limits.ts'
import { hostName } from './host-name.ts'
import { checkRequest } from './request-check.ts'

const check = (url: string, rawHeaders: string[] = ['Host', 'a.localhost'], method = 'GET') =>
  checkRequest({ method, url, httpVersion: '1.1', rawHeaders }, true, standardLimits)

describe('a host is compared', () => {
  test.each([
    ['Hello.Localhost:8080', 'hello.localhost'],
    ['hello.localhost.', 'hello.localhost'],
    ['hello.localhost.:80', 'hello.localhost'],
    ['[::1]:80', '[::1]'],
    ['127.0.0.1', '127.0.0.1'],
  ])('%s as %s', (header, name) => expect(hostName(header)).toBe(name))

  test.each([
    '',
    'a b',
    'a,b',
    'a@b',
    'a/b',
    'a:0',
    'a:99999',
    'a:abc',
    'a..b',
    '.a',
    '[::1',
    'a%00',
    'ä',
    'a:',
  ])('%j not at all', (header) => expect(hostName(header)).toBeUndefined())
})

describe('a target', () => {
  test.each(['/', '//', '/../', '/%2e%2e/', '/%00', '/\\', '/;a=b', '/%ff', '/?%zz'])(
    '%j goes to the app byte for byte',
    (url) => expect(check(url)).toMatchObject({ kind: 'accepted', target: url }),
  )

  test.each([
    '',
    'a',
    '*',
    '/a b',
    '/a#b',
    '/\x00',
    '/\xff',
    '/\u0100',
    'http://b.localhost/',
    'ftp://a.localhost/',
  ])('%j is refused', (url) =>
    expect(check(url)).toMatchObject({ kind: 'refused', code: 'malformed-request' }),
  )

  test('in absolute form becomes a path', () => {
    expect(check('http://A.localhost:80/x')).toMatchObject({ kind: 'accepted', target: '/x' })
  })
})

test('a body is as long as its length says, or has no end yet when it is chunked', () => {
  const bytes = (...headers: string[]) => {
    const result = check('/', ['Host', 'a', ...headers])
    return result.kind === 'accepted' ? result.bodyBytes : result.code
  }
  expect(bytes()).toBe(0)
  expect(bytes('Content-Length', '0')).toBe(0)
  expect(bytes('Content-Length', '12')).toBe(12)
  expect(bytes('transfer-encoding', 'Chunked')).toBe(Number.POSITIVE_INFINITY)
  expect(bytes('Content-Length', '1', 'Transfer-Encoding', 'chunked')).toBe('malformed-request')
  expect(bytes('Transfer-Encoding', 'gzip, chunked')).toBe('malformed-request')
})
