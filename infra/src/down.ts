import { existsSync } from 'node:fs'
import { openDatabase, StoreError } from '@berth/db'
import { LeaseLostError } from '@berth/engine'
import { type DataFolder, openDataFolder } from './data-folder.ts'
import { type Clearing, clearNodes } from './engine/clear-nodes.ts'
import { leadWhile } from './engine/lead-while.ts'
import { Failure } from './failure.ts'
import { openRunFolder } from './run-folder.ts'
import { say } from './say.ts'
import type { Settings } from './settings.ts'
import { stopBerth } from './stop-berth.ts'
import { withDatabase } from './stores/with-database.ts'
import { readRunningSettings } from './supervisor/running-settings.ts'
import { takeUpLock } from './up-lock.ts'

/** A table that is not there: an earlier start ended before its migration, so nothing was ever placed. */
const noSuchTable = '42P01'

/**
 * Stops every process and removes every container of this Berth, on all nodes; data and the Docker Engines stay.
 * A Failure names each node on which containers are left.
 */
export async function down(settings: Settings): Promise<void> {
  if (!existsSync(settings.data)) {
    say('Berth is not running; there is nothing to stop.')
    return
  }
  const data = await openDataFolder(settings.data)
  const run = await openRunFolder(data.path)
  const release = await takeUpLock(data.path)
  try {
    // The database may be known to the processes that run and not to who stops them.
    const databaseUrl = (await readRunningSettings(run))?.databaseUrl ?? settings.databaseUrl
    await stopBerth(run)
    const cleared = await withDatabase({ ...settings, databaseUrl }, data, run, (url) => clear(url, data))
    const { removed, problems } = cleared ?? { removed: 0, problems: [] }
    say(`Berth is down (${removed} containers removed). Data stays in ${data.path}.`)
    if (problems.length > 0) throw new Failure(problems.join('\n'))
  } finally {
    await release()
  }
}

async function clear(databaseUrl: string, data: DataFolder): Promise<Clearing> {
  const db = openDatabase(databaseUrl, { applicationName: 'berth-down', maxConnections: 2 })
  try {
    const cleared = await leadWhile(db, `down-${process.pid}`, (fence) => clearNodes(db, data, fence))
    if (cleared !== null) return cleared
    say('A worker on another machine leads this installation; containers stay in its care.')
    return { removed: 0, problems: [] }
  } catch (error) {
    if (error instanceof LeaseLostError)
      throw new Failure(
        'The database stopped answering before all containers were gone; run ./berth down again.',
        {
          cause: error,
        },
      )
    if (!(error instanceof StoreError)) throw error
    if (error.code === noSuchTable) return { removed: 0, problems: [] }
    throw new Failure(
      `Berth's processes are stopped, but ${error.message}, so nobody knows which nodes hold containers; bring it back and run ./berth down again.`,
      { cause: error },
    )
  } finally {
    await db.close()
  }
}
