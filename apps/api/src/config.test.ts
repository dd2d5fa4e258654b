import { expect, test } from 'vitest'
import { parseConfig } from './config.ts'

const env = {
  DATABASE_URL: 'postgres://secret@localhost/berth',
  REDIS_URL: '/run/redis.sock',
  BERTH_MASTER_KEY_FILE: '/k',
  BERTH_ADMIN_TOKEN_FILE: '/t',
  BERTH_INSTALLATION: 'i',
  BERTH_CONTROL_SOCKET: '/c',
}

test('what is not said has its default', () => {
  expect(parseConfig(env)).toMatchObject({
    port: 8081,
    address: '127.0.0.1',
    domain: 'localhost',
    edgePort: 8080,
  })
})

test('all problems are named at once', () => {
  const bad = { ...env, BERTH_API_PORT: 'x', BERTH_EDGE_PORT: '70000', REDIS_URL: '' }
  expect(() => parseConfig(bad)).toThrow(
    /BERTH_API_PORT is "x".*BERTH_EDGE_PORT is "70000"|REDIS_URL is missing/,
  )
  expect(() => parseConfig(bad)).not.toThrow(/secret/)
})

test('the API does not listen beyond loopback', () => {
  for (const address of ['0.0.0.0', '::', '10.0.0.1', 'example.com'])
    expect(() => parseConfig({ ...env, BERTH_API_ADDRESS: address })).toThrow('loopback only')
})
