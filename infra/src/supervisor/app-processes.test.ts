import { expect, test } from 'vitest'
import type { DataFolder } from '../data-folder.ts'
import { runFolderAt } from '../run-folder.ts'
import { parseSettings } from '../settings.ts'
import { appProcesses, routerEnvironment } from './app-processes.ts'

const data: DataFolder = {
  path: '/data',
  installation: '0a1b2c3d',
  masterKeyFile: '/data/master.key',
  adminTokenFile: '/data/admin-token',
  adminToken: 'berth_secret-token',
  logs: '/data/logs',
  redisPasswords: { worker: 'worker-password', router: 'router-password' },
}

const context = (env: Record<string, string> = {}) => ({
  settings: parseSettings(env, '/opt/berth', '/'),
  data,
  run: runFolderAt('/run/b'),
  shelter: { path: (real: string) => real, enter: (command: readonly string[]) => ({ command }) },
  sockets: { edge: [20, 21], tls: [], admin: [22, 23] },
})

test('the router gets its sockets by number and no secret but its own Redis password', () => {
  const env = routerEnvironment(
    context({ BERTH_MASTER_KEY_FILE: '/x', BERTH_ADMIN_TOKEN_FILE: '/y', BERTH_DATA: '/data' }),
  )
  expect(env).toMatchObject({ BERTH_EDGE_FDS: '3,4', BERTH_ADMIN_FD: '5', BERTH_HUB_SOCKET: '/run/b/hub/s' })
  expect(env['BERTH_ROUTER_REDIS_URL']).toBe('/run/b/redis/s?username=router&password=router-password')
  for (const name of [
    'DATABASE_URL',
    'REDIS_URL',
    'BERTH_DATA',
    'BERTH_MASTER_KEY_FILE',
    'BERTH_ADMIN_TOKEN_FILE',
  ])
    expect(env).not.toHaveProperty(name)
  expect(JSON.stringify(env)).not.toContain('worker-password')
})

test('with TLS it gets further sockets and the folder of the copies', () => {
  const tls = {
    settings: { BERTH_TLS_PORT: '8443' },
    sockets: { edge: [20, 21], tls: [24, 25], admin: [22] },
  }
  const withTls = { ...context(tls.settings), sockets: tls.sockets }
  expect(routerEnvironment(withTls)).toMatchObject({
    BERTH_EDGE_FDS: '3,4',
    BERTH_TLS_FDS: '5,6',
    BERTH_ADMIN_FD: '7',
    BERTH_TLS_PORT: '8443',
    BERTH_TLS_FOLDER: '/run/b/router/certificates',
  })
  expect(appProcesses(withTls).routers[0]?.descriptors).toEqual([20, 21, 24, 25, 22])
})

test('its descriptors are the edge sockets and then the admin socket', () => {
  expect(appProcesses(context()).routers.map(({ descriptors }) => descriptors)).toEqual([[20, 21, 22]])
})

test('several routers share the edge and have a name, an admin port and a table each', () => {
  const { routers } = appProcesses(context({ BERTH_ROUTERS: '2', BERTH_ROUTER_NAME: 'edge' }))
  expect(routers.map(({ name }) => name)).toEqual(['router', 'router-2'])
  expect(routers.map(({ descriptors }) => descriptors)).toEqual([
    [20, 21, 22],
    [20, 21, 23],
  ])
  expect(routers.map(({ env }) => env)).toMatchObject([
    {
      BERTH_ROUTER_NAME: 'edge',
      BERTH_ROUTER_ADMIN_PORT: '8082',
      BERTH_ROUTE_TABLE_FILE: '/run/b/router/routes.json',
    },
    {
      BERTH_ROUTER_NAME: 'edge-2',
      BERTH_ROUTER_ADMIN_PORT: '8092',
      BERTH_ROUTE_TABLE_FILE: '/run/b/router/routes-2.json',
    },
  ])
})

test('API and worker get the private stores, or those that the caller names', () => {
  const own = appProcesses(context()).api.env
  expect(own['DATABASE_URL']).toBe('postgres://berth@localhost/berth?host=%2Frun%2Fb%2Fpostgres')
  expect(own['REDIS_URL']).toBe('/run/b/redis/s?username=berth&password=worker-password')
  const foreign = context({ DATABASE_URL: 'postgres://db/b', REDIS_URL: 'redis://r' })
  expect(appProcesses(foreign).worker.env).toMatchObject({
    DATABASE_URL: 'postgres://db/b',
    REDIS_URL: 'redis://r',
  })
})

test('of a foreign Redis the router gets the user that was made for it, or nothing', () => {
  expect(routerEnvironment(context({ REDIS_URL: 'redis://r' }))).not.toHaveProperty('BERTH_ROUTER_REDIS_URL')
  const own = context({ REDIS_URL: 'redis://r', BERTH_ROUTER_REDIS_URL: 'redis://router@r' })
  expect(routerEnvironment(own)['BERTH_ROUTER_REDIS_URL']).toBe('redis://router@r')
})

test('other variables of Berth are passed on', () => {
  expect(appProcesses(context({ BERTH_ALLOWED_REGISTRIES: 'ghcr.io' })).worker.env).toMatchObject({
    BERTH_ALLOWED_REGISTRIES: 'ghcr.io',
  })
})
