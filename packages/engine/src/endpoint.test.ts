import { describe, expect, test } from 'vitest'
import { describeEndpoint, parseEndpoint } from './endpoint.ts'

const tls = { ca: 'a', cert: 'b', key: 'c' }

describe('an endpoint', () => {
  test.each([
    ['unix:///var/run/docker.sock', { kind: 'unix', path: '/var/run/docker.sock' }],
    ['tcp://127.0.0.2:2375', { kind: 'tcp', host: '127.0.0.2', port: 2375 }],
    ['tcp://[::1]:2375', { kind: 'tcp', host: '::1', port: 2375 }],
  ])('%s is understood and written the same way', (text, endpoint) => {
    expect(parseEndpoint(text)).toEqual(endpoint)
    expect(describeEndpoint(parseEndpoint(text))).toBe(text)
  })

  test.each(['tcp://node.example:2376', 'tcp://10.0.0.1:2376', 'tcp://[2001:db8::1]:2376'])(
    '%s needs TLS',
    (text) => {
      expect(() => parseEndpoint(text)).toThrow(/loopback addresses only/)
      expect(parseEndpoint(text, tls)).toMatchObject({ kind: 'tcp', tls })
    },
  )

  test.each([
    '',
    '/var/run/docker.sock',
    'unix://docker.sock',
    'unix://',
    `unix:///${'x'.repeat(107)}`,
    'http://127.0.0.1:2375',
    'ssh://host',
    'tcp://127.0.0.1',
    'tcp://127.0.0.1:0',
    'tcp://127.0.0.1:65536',
    'tcp://127.0.0.1:2375/path',
    'tcp://user@127.0.0.1:2375',
    'tcp://127.0.0.1:2375\n',
    'tcp://localhost:2375',
    'tcp://127.1:2375',
    'tcp://[127.0.0.1]:2375',
  ])('%j is refused', (text) => {
    expect(() => parseEndpoint(text)).toThrow(/endpoint/)
  })

  test('never shows keys', () => {
    expect(describeEndpoint(parseEndpoint('tcp://10.0.0.1:2376', tls))).toBe('tcp://10.0.0.1:2376')
  })
})
