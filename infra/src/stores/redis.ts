import { chown, mkdir, writeFile } from 'node:fs/promises'
import { createConnection } from 'node:net'
import { join } from 'node:path'
import { redisKeys } from '@berth/contracts'
import type { DataFolder } from '../data-folder.ts'
import { findAccount, isRoot } from '../machine/accounts.ts'
import type { RunFolder } from '../run-folder.ts'
import type { Settings } from '../settings.ts'
import type { ProcessSpec } from '../supervisor/process-spec.ts'
import type { Shelter } from '../supervisor/shelter.ts'

/** The URLs of the private Redis: everything for API and worker, its own keys for the router. */
export function privateRedisUrls(data: DataFolder, folder: RunFolder): { worker: string; router: string } {
  const url = (user: string, password: string) =>
    `${folder.redisSocket}?username=${user}&password=${password}`
  return {
    worker: url('berth', data.redisPasswords.worker),
    router: url('router', data.redisPasswords.router),
  }
}

/** Users of the private Redis. Without a name and password nobody may do anything. */
export function redisUsers(installation: string, passwords: DataFolder['redisPasswords']): string {
  return [
    'user default off',
    `user berth on >${passwords.worker} ~* &* +@all`,
    `user router on >${passwords.router} ${redisKeys(installation).routerRules}`,
    '',
  ].join('\n')
}

export function redisConfig(place: { dir: string; socket: string; users: string }): string {
  return [
    'port 0',
    `unixsocket "${place.socket}"`,
    // Who may talk to it is decided by the passwords of its users.
    'unixsocketperm 777',
    `dir "${place.dir}"`,
    `aclfile "${place.users}"`,
    'appendonly yes',
    'appendfsync everysec',
    'save ""',
    'maxmemory-policy noeviction',
    'loglevel notice',
    '',
  ].join('\n')
}

/** Writes the configuration, which carries the passwords and is therefore readable by Redis alone. */
export async function prepareRedis(data: DataFolder, folder: RunFolder, shelter: Shelter): Promise<void> {
  const account = isRoot() ? findAccount('redis') : undefined
  const dir = join(data.path, 'redis')
  await mkdir(dir, { recursive: true, mode: 0o700 })
  const users = join(folder.redis, 'users.acl')
  const config = join(folder.redis, 'redis.conf')
  const mode = { mode: 0o600 }
  await writeFile(users, redisUsers(data.installation, data.redisPasswords), mode)
  await writeFile(config, redisConfig({ dir: shelter.path(dir), socket: folder.redisSocket, users }), mode)
  if (account === undefined) return
  for (const path of [dir, users, config]) await chown(path, account.uid, account.gid)
}

export function redisProcess(
  { searchPath }: Settings,
  data: DataFolder,
  folder: RunFolder,
  shelter: Shelter,
): ProcessSpec {
  const account = isRoot() ? findAccount('redis') : undefined
  return {
    name: 'redis',
    ...shelter.enter(['redis-server', join(folder.redis, 'redis.conf')], account),
    env: { PATH: searchPath, LANG: 'C.UTF-8' },
    cwd: '/',
    checkReady: () => pingRedis(folder.redisSocket, data.redisPasswords.worker),
    stopSignal: 'SIGTERM',
    stopGraceMs: 10_000,
  }
}

/** Resolves when Redis answers PONG; it says LOADING while it reads its file, which is "not yet". */
function pingRedis(path: string, password: string): Promise<void> {
  return new Promise((resolve, reject) => {
    const socket = createConnection(path, () => socket.write(`AUTH berth ${password}\r\nPING\r\n`))
    let answer = ''
    socket.on('data', (chunk) => {
      answer += chunk.toString()
      if (answer.includes('+PONG\r\n')) resolve()
      else if (/^-/m.test(answer)) reject(new Error(`Redis answers ${answer.trim()}`))
      else return
      socket.destroy()
    })
    socket.once('error', reject)
    socket.setTimeout(2000, () => socket.destroy(new Error('Redis did not answer in 2 s')))
  })
}
