import { execFile } from 'node:child_process'
import { existsSync } from 'node:fs'
import { mkdir, open, rename, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { type DataFolder, openDataFolder } from './data-folder.ts'
import { codeOf, Failure, messageOf } from './failure.ts'
import { openRunFolder, type RunFolder } from './run-folder.ts'
import { say } from './say.ts'
import type { Settings } from './settings.ts'
import { newestPostgres, preparePostgres } from './stores/postgres.ts'
import { withDatabase } from './stores/with-database.ts'
import { readStatus } from './supervisor/control-client.ts'
import { readRunningSettings } from './supervisor/running-settings.ts'
import { chooseShelter } from './supervisor/shelter.ts'
import { takeUpLock } from './up-lock.ts'

const runProgram = promisify(execFile)

/**
 * Writes the database into `<folder>/berth-<time>.dump`, whole or not at all, readable by its owner alone. Berth
 * may run or not. The master key is not in it: who has both can read every secret.
 */
export async function backup(settings: Settings, folder: string): Promise<void> {
  if (!existsSync(settings.data)) throw new Failure(`There is no Berth in ${settings.data} to back up.`)
  await atWork(settings, async (data, run) => {
    const running = (await readRunningSettings(run)) ?? settings
    const file = join(folder, `berth-${new Date().toISOString().replaceAll(/[-:]|\.\d+/g, '')}.dump`)
    const databaseUrl = running.databaseUrl
    const { searchPath } = settings
    const done = await withDatabase({ ...settings, databaseUrl }, data, run, (url) =>
      dump({ url, searchPath }, folder, file),
    )
    if (done === undefined) throw new Failure('There is no database yet; run ./berth up first.')
    say(`${file} holds the database.`)
    say(
      `Its secrets open only with ${data.masterKeyFile}, which never changes: keep a copy in another place.`,
    )
  })
}

/** Fills an empty database from a dump; one that is not empty is left as it is. */
export async function restore(settings: Settings, file: string): Promise<void> {
  if (!existsSync(file)) throw new Failure(`There is no file ${file}.`)
  await atWork(settings, async (data, run) => {
    if ((await readStatus(run.supervisorSocket)) !== undefined)
      throw new Failure('Berth is running; run ./berth down before a restore.')
    if (settings.databaseUrl === undefined)
      await preparePostgres(data.path, chooseShelter(settings.project, data.path, run))
    await withDatabase(settings, data, run, (url) =>
      fill({ url, searchPath: settings.searchPath }, file, data),
    )
    say(`The database is what ${file} holds; start Berth with ./berth up.`)
  })
}

/** `searchPath` is where programs of Postgres are looked for when no server of it is installed. */
type DatabasePlace = { url: string; searchPath: string }

async function atWork(
  settings: Settings,
  work: (data: DataFolder, run: RunFolder) => Promise<void>,
): Promise<void> {
  const data = await openDataFolder(settings.data)
  const run = await openRunFolder(data.path)
  const release = await takeUpLock(data.path)
  try {
    await work(data, run)
  } finally {
    await release()
  }
}

async function dump(database: DatabasePlace, folder: string, file: string): Promise<true> {
  const draft = `${file}.new`
  try {
    await mkdir(folder, { recursive: true, mode: 0o700 })
    // Made here, so that it is private before there is anything in it.
    await (await open(draft, 'w', 0o600)).close()
  } catch (error) {
    throw new Failure(`${folder} cannot be written: ${messageOf(error)}.`, { cause: error })
  }
  try {
    await callPostgres('pg_dump', database, ['--format=custom', `--file=${draft}`])
    await rename(draft, file)
  } finally {
    await rm(draft, { force: true })
  }
  return true
}

async function fill(database: DatabasePlace, file: string, data: DataFolder): Promise<void> {
  try {
    await callPostgres('pg_restore', database, ['--single-transaction', '--exit-on-error', file])
  } catch (error) {
    if (!/already exists/.test(messageOf(error))) throw error
    const place = `${data.path}/postgres`
    throw new Failure(
      `The database is not empty; move ${place} away, or name an empty database in DATABASE_URL.`,
      { cause: error },
    )
  }
}

/** Runs a program of Postgres on a database. The password goes by the environment: arguments are for all to see. */
async function callPostgres(
  program: 'pg_dump' | 'pg_restore',
  { url, searchPath }: DatabasePlace,
  args: readonly string[],
): Promise<void> {
  const folder = newestPostgres()
  const file = folder === undefined ? program : join(folder, program)
  const { place, password } = withoutPassword(url)
  const options = ['--no-owner', '--no-privileges', '--no-password', `--dbname=${place}`]
  try {
    const env = { PATH: searchPath, LANG: 'C.UTF-8', ...(password === '' ? {} : { PGPASSWORD: password }) }
    await runProgram(file, [...options, ...args], { env })
  } catch (error) {
    if (codeOf(error) === 'ENOENT')
      throw new Failure(`${program} is not installed; install postgresql-client.`, { cause: error })
    const said = (error as { stderr?: string }).stderr?.trim().split('\n')[0] ?? messageOf(error)
    throw new Failure(`The database: ${said}`, { cause: error })
  }
}

function withoutPassword(url: string): { place: string; password: string } {
  if (!URL.canParse(url)) return { place: url, password: '' }
  const parsed = new URL(url)
  const password = decodeURIComponent(parsed.password)
  parsed.password = ''
  return { place: parsed.toString(), password }
}
