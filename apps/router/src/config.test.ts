import { expect, test } from 'vitest'
import { parseConfig } from './config.ts'
import { askerOf, peerOf, parseTrustedProxies } from './exchange/asker.ts'

test('descriptors of a supervisor win over ports', () => {
  const config = parseConfig({ BERTH_INSTALLATION: 'i1', BERTH_EDGE_FDS: '3,4', BERTH_ADMIN_FD: '5' })
  expect(config).toMatchObject({ edge: [{ fd: 3 }, { fd: 4 }], admin: { fd: 5 }, drainMs: 600_000 })
})

test('without a supervisor it listens on both loopback addresses', () => {
  expect(parseConfig({ BERTH_INSTALLATION: 'i1' }).edge).toEqual([
    { host: '127.0.0.1', port: 8080 },
    { host: '::1', port: 8080 },
  ])
})

test('replicas are asked by the own client unless the reference is chosen', () => {
  const upstreamClient = (env: NodeJS.ProcessEnv) =>
    parseConfig({ BERTH_INSTALLATION: 'i1', ...env }).upstreamClient
  expect(upstreamClient({})).toBe('own')
  expect(upstreamClient({ BERTH_ROUTER_CLIENT: 'undici' })).toBe('undici')
})

test('a sample of access lines is a number from 0 to 1, and all of them unless said', () => {
  const sample = (text: string) =>
    parseConfig({ BERTH_INSTALLATION: 'i1', BERTH_ROUTER_ACCESS_LOG_SAMPLE: text }).accessLogSample
  expect(['', '0', '1', '0.25', '.5', '1.0'].map(sample)).toEqual([1, 0, 1, 0.25, 0.5, 1])
  for (const text of ['-0.1', '1.01', 'half', '1e-2', '0,5'])
    expect(() => sample(text)).toThrow(`BERTH_ROUTER_ACCESS_LOG_SAMPLE is "${text}"`)
})

test('everything that is wrong is said at once, with its value', () => {
  const env = {
    BERTH_EDGE_PORT: '80.5',
    BERTH_EDGE_FDS: '1',
    BERTH_ROUTER_CLIENT: 'curl',
    BERTH_ROUTER_ACCESS_LOG_SAMPLE: '1.5',
    BERTH_TRUSTED_PROXIES: '10.0.0.0/33',
  }
  expect(() => parseConfig(env)).toThrow(
    /INSTALLATION.*"80\.5".*FDS is "1".*ACCESS_LOG_SAMPLE is "1\.5" and must be a number from 0 to 1;.*CLIENT is "curl".*own, undici.*"10\.0\.0\.0\/33"/,
  )
})

test('a proxy is trusted by address or network, and ids are taken over when they are well formed', () => {
  const trusted = parseTrustedProxies('10.0.0.0/8, ::1')
  const raw = ['X-Request-Id', 'abc-1', 'traceparent', `00-${'a'.repeat(32)}-${'b'.repeat(16)}-01`]
  expect(askerOf(raw, peerOf({ remoteAddress: '::ffff:10.1.2.3' }, trusted))).toEqual({
    address: '10.1.2.3',
    trusted: true,
    scheme: 'http',
    requestId: 'abc-1',
    traceparent: `00-${'a'.repeat(32)}-${'b'.repeat(16)}-01`,
    continuesTrace: true,
  })
  const fresh = askerOf(
    ['X-Request-Id', 'a b', 'traceparent', '00-0-0-00'],
    peerOf({ remoteAddress: '11.0.0.1' }, trusted),
  )
  expect(fresh).toMatchObject({ trusted: false, continuesTrace: false })
  expect(fresh.requestId).toMatch(/^[0-9a-f]{24}$/)
  expect(fresh.traceparent).toMatch(/^00-[0-9a-f]{32}-[0-9a-f]{16}-01$/)
})
