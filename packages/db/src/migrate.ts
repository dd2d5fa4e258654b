import { defaultProject, newId } from '@berth/contracts'
import { drizzle } from 'drizzle-orm/node-postgres'
import { migrate } from 'drizzle-orm/node-postgres/migrator'
import { fileURLToPath } from 'node:url'
import pg from 'pg'
import { pools, projects } from './schema.ts'
import { sessionBounds } from './session-bounds.ts'
import { translateStoreError } from './store-error.ts'

export const migrationsFolder = fileURLToPath(new URL('../migrations', import.meta.url))

export const defaultPool = 'default'

/** Any number, the same in every release: the advisory lock of migrations. */
const migrationLock = 7_224_117_001
/** Others may migrate first, and a big table takes its time. */
const bounds = sessionBounds({ statementMs: 600_000, lockMs: 120_000, idleInTransactionMs: 60_000 })

/**
 * Brings the schema up to date and makes the project and the pool `default`. One process at a time: others wait
 * for it on an advisory lock, which its own connection holds, so it is free when that process dies.
 */
export async function migrateDatabase(url: string): Promise<void> {
  const client = new pg.Client({
    connectionString: url,
    application_name: 'berth-migrate',
    ...bounds,
  })
  // What breaks while a statement runs fails that statement as well.
  client.on('error', () => {})
  try {
    await client.connect()
    await client.query('select pg_advisory_lock($1)', [migrationLock])
    const database = drizzle(client)
    await migrate(database, { migrationsFolder })
    await database
      .insert(projects)
      .values({ uid: newId('ProjectUid'), name: defaultProject })
      .onConflictDoNothing()
    await database.insert(pools).values({ name: defaultPool }).onConflictDoNothing()
  } catch (error) {
    throw translateStoreError(error)
  } finally {
    await client.end().catch(() => {})
  }
}
