import { expect, test } from 'vitest'
import { ConfigError, readConfig } from './config.ts'

const complete = {
  DATABASE_URL: 'postgres://berth@localhost/berth?host=/run',
  REDIS_URL: '/run/redis.sock',
  BERTH_INSTALLATION: '0a1b2c3d',
  BERTH_MASTER_KEY_FILE: '/data/master.key',
  BERTH_WORKER_ADMIN_PORT: '8083',
  BERTH_REGISTRY_PORT: '5050',
  BERTH_HUB_SOCKET: '/run/hub.sock',
  BERTH_CONTROL_SOCKET: '/run/control.sock',
  BERTH_ALLOWED_REGISTRIES: 'Registry.internal:5000, 10.0.0.7',
}

test('reads the environment and fills in what has a default', () => {
  expect(readConfig(complete)).toMatchObject({
    adminPort: 8083,
    domain: 'localhost',
    busybox: '/bin/busybox',
    networkCidr: '198.18.0.0/16',
    allowedRegistries: ['registry.internal:5000', '10.0.0.7'],
  })
})

test('names every problem at once, with the bad value', () => {
  const bad = { ...complete, DATABASE_URL: '', BERTH_REGISTRY_PORT: '70000', BERTH_INSTALLATION: 'a b' }
  expect(() => readConfig(bad)).toThrow(ConfigError)
  expect(() => readConfig(bad)).toThrow(/"a b".*DATABASE_URL is not set.*"70000"/)
})
