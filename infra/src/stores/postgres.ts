import { execFile } from 'node:child_process'
import { existsSync, readdirSync } from 'node:fs'
import { chmod, chown, mkdir, rename, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { Failure, messageOf } from '../failure.ts'
import { findAccount, isRoot } from '../machine/accounts.ts'
import type { RunFolder } from '../run-folder.ts'
import type { Settings } from '../settings.ts'
import type { ProcessSpec } from '../supervisor/process-spec.ts'
import type { Shelter } from '../supervisor/shelter.ts'

const run = promisify(execFile)
const databaseName = 'berth'

/** Where Debian keeps the newest Postgres server (15 or later); a Failure when there is none. */
function postgresBinFolder(): string {
  const folder = newestPostgres()
  if (folder === undefined) throw new Failure('Postgres 15 is not installed; run ./berth packages as root.')
  return folder
}

/** The folder of the newest server's programs, undefined when there is none that is new enough. */
export function newestPostgres(root = '/usr/lib/postgresql'): string | undefined {
  const versions = existsSync(root) ? readdirSync(root).map(Number) : []
  const newest = Math.max(
    0,
    ...versions.filter((version) => existsSync(join(root, String(version), 'bin', 'initdb'))),
  )
  return newest < 15 ? undefined : join(root, String(newest), 'bin')
}

export function privateDatabaseUrl(folder: RunFolder, database = databaseName): string {
  return `postgres://berth@localhost/${database}?host=${encodeURIComponent(folder.postgres)}`
}

/**
 * Makes the cluster once, as user `postgres` when started by root (Postgres refuses root). It is built beside
 * its place and renamed, so that a killed first start leaves nothing half made.
 */
export async function preparePostgres(data: string, shelter: Shelter): Promise<void> {
  const cluster = join(data, 'postgres')
  if (existsSync(join(cluster, 'PG_VERSION'))) return
  const draft = `${cluster}.new`
  await rm(draft, { recursive: true, force: true })
  await mkdir(draft, { mode: 0o700 })
  const account = postgresAccount()
  if (account !== undefined) await chown(draft, account.uid, account.gid)
  const initdb = join(postgresBinFolder(), 'initdb')
  const flags = ['-U', 'berth', '-A', 'trust', '-E', 'UTF8', '--locale=C.UTF-8']
  const sheltered = shelter.enter([initdb, '-D', shelter.path(draft), ...flags], account)
  const [file, ...args] = sheltered.command
  try {
    await run(file ?? '', args, { cwd: '/', ...sheltered.account })
  } catch (error) {
    throw new Failure(`Postgres could not make its database: ${messageOf(error)}`, { cause: error })
  }
  await chmod(draft, 0o700)
  await rm(cluster, { recursive: true, force: true })
  await rename(draft, cluster)
}

/** The private server: unix socket only, durable. */
export function postgresProcess(
  { searchPath }: Settings,
  data: string,
  folder: RunFolder,
  shelter: Shelter,
): ProcessSpec {
  const settings = {
    listen_addresses: '',
    unix_socket_directories: folder.postgres,
    max_connections: '200',
    shared_buffers: '64MB',
    // Deaths of clients (a killed worker) are noticed at once instead of at the next write.
    client_connection_check_interval: '1s',
    log_checkpoints: 'off',
  }
  const flags = Object.entries(settings).flatMap(([name, value]) => ['-c', `${name}=${value}`])
  const bin = postgresBinFolder()
  const place = shelter.path(join(data, 'postgres'))
  return {
    name: 'postgres',
    ...shelter.enter([join(bin, 'postgres'), '-D', place, ...flags], postgresAccount()),
    env: { PATH: searchPath, LANG: 'C.UTF-8' },
    cwd: '/',
    async checkReady() {
      await run(join(bin, 'pg_isready'), [
        '-h',
        folder.postgres,
        '-U',
        'berth',
        '-d',
        'postgres',
        '-q',
        '-t',
        '2',
      ])
      await ensureDatabase(bin, folder)
    },
    stopSignal: 'SIGINT',
    stopGraceMs: 15_000,
  }
}

async function ensureDatabase(bin: string, folder: RunFolder): Promise<void> {
  const connection = ['-h', folder.postgres, '-U', 'berth']
  const list = `select 1 from pg_database where datname = '${databaseName}'`
  const { stdout } = await run(join(bin, 'psql'), [...connection, '-d', 'postgres', '-Atc', list])
  if (stdout.trim() !== '1') await run(join(bin, 'createdb'), [...connection, databaseName])
}

function postgresAccount() {
  if (!isRoot()) return undefined
  const account = findAccount('postgres')
  if (account === undefined) throw new Failure('The user postgres is missing; run ./berth packages.')
  return account
}
