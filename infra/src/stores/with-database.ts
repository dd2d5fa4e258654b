import { existsSync } from 'node:fs'
import { join } from 'node:path'
import type { DataFolder } from '../data-folder.ts'
import { Failure, messageOf } from '../failure.ts'
import type { RunFolder } from '../run-folder.ts'
import type { Settings } from '../settings.ts'
import { ProcessRecord, readRecord } from '../supervisor/process-record.ts'
import { chooseShelter } from '../supervisor/shelter.ts'
import { SupervisedProcess } from '../supervisor/supervised-process.ts'
import { postgresProcess, privateDatabaseUrl } from './postgres.ts'

const readyTimeoutMs = 60_000

/**
 * Runs `use` with the URL of the database, whether Berth runs or not: the private server is started for the time
 * where it does not. Undefined when there is no private database yet. The caller holds the lock of `up`.
 */
export async function withDatabase<Value>(
  settings: Settings,
  data: DataFolder,
  run: RunFolder,
  use: (url: string) => Promise<Value>,
): Promise<Value | undefined> {
  if (settings.databaseUrl !== undefined) return await use(settings.databaseUrl)
  if (readRecord(run.processFile).some(({ name }) => name === 'postgres'))
    return await use(privateDatabaseUrl(run))
  if (!existsSync(join(data.path, 'postgres', 'PG_VERSION'))) return undefined
  const shelter = chooseShelter(settings.project, data.path, run)
  const record = new ProcessRecord(run.processFile)
  const log = join(data.logs, 'postgres.log')
  const spec = postgresProcess(settings, data.path, run, shelter)
  const postgres = new SupervisedProcess(spec, log, record, () => undefined)
  try {
    postgres.start()
    await postgres.whenReady(readyTimeoutMs).catch((error: unknown) => {
      throw new Failure(`The database could not be started: ${messageOf(error)}; see ${log}.`, {
        cause: error,
      })
    })
    return await use(privateDatabaseUrl(run))
  } finally {
    await postgres.stop()
    record.clear()
  }
}
