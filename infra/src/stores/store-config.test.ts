import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { redisKeys } from '@berth/contracts'
import { redisConfig, redisUsers } from './redis.ts'
import { registryConfig } from './registry.ts'

test('Redis keeps what it was told, and listens on its socket only', () => {
  const config = redisConfig({ dir: '/d', socket: '/s', users: '/u' })
  for (const line of ['port 0', 'appendonly yes', 'maxmemory-policy noeviction', 'aclfile "/u"'])
    expect(config.split('\n')).toContain(line)
})

test('nobody reaches Redis without a password, and the router only its own keys', () => {
  const users = redisUsers('0a1b2c3d', { worker: 'w', router: 'r' }).trim().split('\n')
  expect(users[0]).toBe('user default off')
  const router = users.find((line) => line.startsWith('user router '))
  expect(router).toContain('~berth:0a1b2c3d:router:* &berth:0a1b2c3d:router:*')
  expect(router).not.toMatch(/~\*|\+@all/)
})

test('operators of a foreign Redis read the same rules for the router', async () => {
  const page = await readFile(join(import.meta.dirname, '../../../docs/operations.md'), 'utf8')
  expect(page).toContain(`ACL SETUSER router on >PASSWORD ${redisKeys('<id>').routerRules}`)
})

test('the registry listens on loopback', () => {
  expect(registryConfig('/data/registry', 5050)).toContain('addr: "127.0.0.1:5050"')
})
