import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import { Worker } from 'node:worker_threads'
import { sql } from 'drizzle-orm'
import { afterAll, beforeAll, expect, inject, test } from 'vitest'
import { openDatabase, type Database } from './connection.ts'
import { migrateDatabase, migrationsFolder } from './migrate.ts'
import { pools, projects } from './schema.ts'
import { StoreUnavailableError } from './store-error.ts'

const name = `migrate_${randomBytes(6).toString('hex')}`
let server: Database
let url: string
beforeAll(async () => {
  const postgresUrl = inject('postgresUrl')
  server = openDatabase(postgresUrl, { applicationName: 'test', maxConnections: 1 })
  await server.execute(sql.raw(`create database ${name}`))
  const own = new URL(postgresUrl)
  own.pathname = `/${name}`
  url = own.toString()
})
afterAll(async () => {
  await server.execute(sql.raw(`drop database ${name} with (force)`))
  await server.close()
})

test('many processes may migrate at once, and again, and make the defaults once', async () => {
  await Promise.all([migrateDatabase(url), migrateDatabase(url), migrateDatabase(url)])
  await migrateDatabase(url)
  const db = openDatabase(url, { applicationName: 'test', maxConnections: 1 })
  expect(await db.select({ name: projects.name }).from(projects)).toEqual([{ name: 'default' }])
  expect(await db.select({ name: pools.name }).from(pools)).toEqual([{ name: 'default' }])
  await db.close()
})

test('a database of the first schema is brought up to date with what is in it', async () => {
  const old = `${name}_old`
  await server.execute(sql.raw(`create database ${old}`))
  const oldUrl = new URL(url)
  oldUrl.pathname = `/${old}`
  const db = openDatabase(oldUrl.toString(), { applicationName: 'test', maxConnections: 1 })
  try {
    const first = readFileSync(join(migrationsFolder, '0000_initial.sql'), 'utf8')
    const applied = [
      ...first.split('--> statement-breakpoint'),
      'create schema drizzle',
      'create table drizzle.__drizzle_migrations (id serial, hash text not null, created_at bigint)',
      "insert into drizzle.__drizzle_migrations (hash, created_at) values ('first', 1795576782114)",
      "insert into pools (name) values ('default'), ('fast')",
    ]
    for (const statement of applied) await db.execute(sql.raw(statement))
    await migrateDatabase(oldUrl.toString())
    const rows = await db.select().from(pools)
    expect(new Set(rows.map(({ uid }) => uid)).size).toBe(2)
    for (const row of rows) expect(row).toMatchObject({ uid: expect.stringMatching(/^pol-/), generation: 1 })
  } finally {
    await db.close()
    await server.execute(sql.raw(`drop database ${old} with (force)`))
  }
})

test('a migration is bounded in what it waits for', async () => {
  const db = openDatabase(url, { applicationName: 'test', maxConnections: 1 })
  for (const statement of [
    'create table seen (statement text, lock text, idle text)',
    `create function note() returns trigger language plpgsql as $$ begin
       insert into seen values (current_setting('statement_timeout'), current_setting('lock_timeout'),
                                current_setting('idle_in_transaction_session_timeout'));
       return new; end $$`,
    'create trigger note before insert on projects for each row execute function note()',
  ])
    await db.execute(sql.raw(statement))
  await migrateDatabase(url)
  const { rows } = await db.execute(sql`select * from seen`)
  expect(rows).toEqual([{ statement: '10min', lock: '2min', idle: '1min' }])
  await db.execute(sql`drop trigger note on projects`)
  await db.close()
})

/** A thread of its own stands for the process: it has its own environment and exit code. */
async function runProgram(env: Record<string, string>): Promise<{ code: unknown; stderr: string }> {
  const program = new Worker(new URL('migrate-main.ts', import.meta.url), { env, stderr: true })
  const stderr = text(program.stderr)
  const [code] = (await once(program, 'exit')) as unknown[]
  return { code, stderr: await stderr }
}

test('the program migrates what DATABASE_URL names, and says what is wrong with it', async () => {
  expect(await runProgram({ DATABASE_URL: url })).toEqual({ code: 0, stderr: '' })
  expect(await runProgram({})).toEqual({ code: 2, stderr: 'DATABASE_URL is not set.\n' })
  const missing = new URL(url)
  missing.pathname = '/no_such_database'
  const outcome = await runProgram({ DATABASE_URL: missing.toString() })
  expect(outcome.code).toBe(1)
  expect(outcome.stderr).toContain('3D000')
})

test('a server that is not there is unavailable', async () => {
  const nowhere = 'postgres://nobody@localhost/none?host=/nonexistent'
  await expect(migrateDatabase(nowhere)).rejects.toBeInstanceOf(StoreUnavailableError)
})
