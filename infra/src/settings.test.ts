import { expect, test } from 'vitest'
import { Failure } from './failure.ts'
import { parseSettings, routerAdminPorts } from './settings.ts'

const parse = (env: Record<string, string>) => parseSettings(env, '/opt/berth', '/home/ada')

test('the defaults are the documented ports and a data folder inside the project', () => {
  const settings = parse({})
  expect(settings.ports).toEqual({
    edge: 8080,
    api: 8081,
    routerAdmin: 8082,
    workerAdmin: 8083,
    registry: 5050,
  })
  expect(settings.data).toBe('/opt/berth/.berth')
  expect(settings.databaseUrl).toBeUndefined()
})

test('each router needs an admin port that nothing else has', () => {
  expect(routerAdminPorts(parse({ BERTH_ROUTERS: '3' }))).toEqual([8082, 8092, 8102])
  expect(() => parse({ BERTH_ROUTERS: '2', BERTH_API_PORT: '8092' })).toThrow(
    'with BERTH_ROUTERS=2 a router would need 8092 as its admin port',
  )
  for (const routers of ['0', '17', '-1', '1.5', 'two'])
    expect(() => parse({ BERTH_ROUTERS: routers })).toThrow(`BERTH_ROUTERS is "${routers}"`)
})

test('a relative data folder starts where the command was typed', () => {
  expect(parse({ BERTH_DATA: 'trial' }).data).toBe('/home/ada/trial')
})

test('every bad value is named at once', () => {
  const attempt = () => parse({ BERTH_EDGE_PORT: '80.5', BERTH_API_PORT: '0', BERTH_DOMAIN: 'Not a name' })
  expect(attempt).toThrow(Failure)
  expect(attempt).toThrow(/BERTH_EDGE_PORT is "80\.5".*BERTH_API_PORT is "0".*BERTH_DOMAIN/)
})

test('two purposes cannot share a port', () => {
  expect(() => parse({ BERTH_API_PORT: '8080' })).toThrow('BERTH_API_PORT and BERTH_EDGE_PORT are both 8080')
})

test('an empty store URL means a private store', () => {
  expect(parse({ DATABASE_URL: '' }).databaseUrl).toBeUndefined()
  expect(parse({ DATABASE_URL: 'postgres://db/berth' }).databaseUrl).toBe('postgres://db/berth')
})

test('services are served on loopback and without TLS, unless something else is said', () => {
  expect(parse({})).toMatchObject({ edgeAddresses: ['127.0.0.1', '::1'], tls: undefined })
  const env = { BERTH_EDGE_ADDRESSES: '0.0.0.0', BERTH_TLS_PORT: '443', BERTH_TLS_REDIRECT: 'on' }
  expect(parse(env)).toMatchObject({
    edgeAddresses: ['0.0.0.0'],
    tls: { port: 443, folder: '/opt/berth/.berth/certificates', redirects: true },
  })
  expect(parse({ ...env, BERTH_TLS_FOLDER: 'mine' }).tls?.folder).toBe('/home/ada/mine')
})

test('what cannot be listened on, or redirected to, is named', () => {
  expect(() => parse({ BERTH_EDGE_ADDRESSES: 'eth0' })).toThrow('BERTH_EDGE_ADDRESSES has "eth0"')
  expect(() => parse({ BERTH_TLS_PORT: '0' })).toThrow('BERTH_TLS_PORT is "0"')
  expect(() => parse({ BERTH_TLS_PORT: '8081' })).toThrow('BERTH_TLS_PORT is 8081, which has another use')
  expect(() => parse({ BERTH_TLS_REDIRECT: 'on' })).toThrow('BERTH_TLS_REDIRECT needs BERTH_TLS_PORT')
  expect(() => parse({ BERTH_TLS_REDIRECT: 'yes' })).toThrow('BERTH_TLS_REDIRECT is "yes"')
})
