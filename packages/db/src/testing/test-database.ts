import { createHash, randomBytes } from 'node:crypto'
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import pg from 'pg'
import { openDatabase, type Database } from '../connection.ts'
import { migrateDatabase, migrationsFolder } from '../migrate.ts'

export type TestDatabase = { url: string; db: Database; drop(): Promise<void> }

const templateLock = 7_224_117_002

/**
 * A migrated database of its own on the server of `postgresUrl` (`inject('postgresUrl')`), copied from a template
 * that the first caller makes. Call `drop` afterwards.
 */
export async function createTestDatabase(postgresUrl: string): Promise<TestDatabase> {
  const name = `test_${randomBytes(6).toString('hex')}`
  await onServer(postgresUrl, async (client) => {
    await client.query('select pg_advisory_lock($1)', [templateLock])
    const template = await ensureTemplate(client, postgresUrl)
    await client.query(`create database ${name} template ${template}`)
  })
  const url = databaseUrl(postgresUrl, name)
  const db = openDatabase(url, { applicationName: 'berth-test', maxConnections: 10 })
  return {
    url,
    db,
    async drop() {
      await db.close()
      await onServer(postgresUrl, (client) => client.query(`drop database if exists ${name} with (force)`))
    },
  }
}

/** Named by its migrations, so that a server that lives longer never hands out an old schema. */
async function ensureTemplate(client: pg.Client, postgresUrl: string): Promise<string> {
  const name = `template_${migrationsHash()}`
  const found = await client.query('select 1 from pg_database where datname = $1', [name])
  if (found.rowCount !== 0) return name
  const draft = `${name}_draft`
  await client.query(`drop database if exists ${draft} with (force)`)
  await client.query(`create database ${draft}`)
  await migrateDatabase(databaseUrl(postgresUrl, draft))
  await client.query(`alter database ${draft} rename to ${name}`)
  return name
}

function migrationsHash(): string {
  const hash = createHash('sha256')
  const files = readdirSync(migrationsFolder).filter((file) => file.endsWith('.sql'))
  for (const file of files.toSorted()) hash.update(readFileSync(join(migrationsFolder, file)))
  return hash.digest('hex').slice(0, 16)
}

function databaseUrl(postgresUrl: string, name: string): string {
  const url = new URL(postgresUrl)
  url.pathname = `/${name}`
  return url.toString()
}

async function onServer(postgresUrl: string, work: (client: pg.Client) => Promise<unknown>): Promise<void> {
  const client = new pg.Client({ connectionString: postgresUrl, application_name: 'berth-test' })
  client.on('error', () => {})
  await client.connect()
  try {
    await work(client)
  } finally {
    await client.end()
  }
}
