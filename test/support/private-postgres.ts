import { execFile } from 'node:child_process'
import { readdirSync } from 'node:fs'
import { chmod, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { startTestChild } from './child.ts'
import { makeOwnedFolder } from './owned-folder.ts'
import { until } from './poll.ts'

export type PrivatePostgres = { url: string; folder: string; stop(): Promise<void> }

const run = promisify(execFile)
const isRoot = process.getuid?.() === 0

/**
 * A Postgres of its own on a unix socket in a new folder, without durability. `url` names its database
 * `postgres`; tests create databases of their own beside it (`new URL(url)`, then set `pathname`).
 */
export async function startPrivatePostgres(): Promise<PrivatePostgres> {
  const folder = await makeOwnedFolder()
  const data = join(folder, 'data')
  const bin = postgresBinFolder()
  try {
    if (isRoot) await run('chown', ['postgres:postgres', folder])
    await chmod(folder, 0o711)
    const asPostgres = isRoot ? ['--reuid=postgres', '--regid=postgres', '--init-groups'] : []
    const initdb = [join(bin, 'initdb'), '-D', data, '-U', 'postgres', '-A', 'trust', '-E', 'UTF8']
    await run('setpriv', [...asPostgres, ...initdb, '--no-sync', '--locale=C.UTF-8'], { cwd: folder })
    const settings = {
      listen_addresses: '',
      unix_socket_directories: folder,
      fsync: 'off',
      synchronous_commit: 'off',
      full_page_writes: 'off',
      max_connections: '300',
      shared_buffers: '64MB',
    }
    const flags = Object.entries(settings).flatMap(([name, value]) => ['-c', `${name}=${value}`])
    const child = startTestChild([join(bin, 'postgres'), '-D', data, ...flags], {
      cwd: folder,
      ...(isRoot ? { user: 'postgres' } : {}),
    })
    const url = `postgres://postgres@localhost/postgres?host=${encodeURIComponent(folder)}`
    await until(() => answers(bin, folder), { timeoutMs: 60_000, describe: 'Postgres to answer' }).catch(
      async (error: unknown) => {
        await child.stop('SIGKILL')
        throw new Error(`Postgres did not start: ${child.output()}`, { cause: error })
      },
    )
    return {
      url,
      folder,
      async stop() {
        await child.stop('SIGQUIT')
        await rm(folder, { recursive: true, force: true })
      },
    }
  } catch (error) {
    await rm(folder, { recursive: true, force: true })
    throw error
  }
}

/** `pg_isready` rather than a client: test support holds no SQL. */
async function answers(bin: string, folder: string): Promise<boolean> {
  await run(join(bin, 'pg_isready'), ['-h', folder, '-q'])
  return true
}

/** Debian keeps the server's programs in a folder per major version; the newest is taken. */
function postgresBinFolder(): string {
  const root = '/usr/lib/postgresql'
  const versions = readdirSync(root)
    .map(Number)
    .filter((version) => version >= 15)
    .toSorted((a, b) => b - a)
  if (versions[0] === undefined) throw new Error('Postgres 15 or newer is not installed: ./berth packages')
  return join(root, String(versions[0]), 'bin')
}
