import { sql } from 'drizzle-orm'
import { inspect } from 'node:util'
import { afterAll, beforeAll, expect, inject, test } from 'vitest'
import { until } from '../../../test/support/poll.ts'
import { databaseAnswers, openDatabase, withTransaction } from './connection.ts'
import { leases, pools, projects } from './schema.ts'
import { StoreConflictError, StoreError, StoreUnavailableError, UniqueViolationError } from './store-error.ts'
import { createTestDatabase, type TestDatabase } from './testing/test-database.ts'

let database: TestDatabase
beforeAll(async () => {
  database = await createTestDatabase(inject('postgresUrl'))
})
afterAll(() => database.drop())

test('a new database has the project and the pool "default"', async () => {
  expect(await database.db.select({ name: projects.name }).from(projects)).toEqual([{ name: 'default' }])
  expect(await database.db.select({ name: pools.name }).from(pools)).toEqual([{ name: 'default' }])
})

test('a taken value fails with the constraint, and with neither SQL nor values', async () => {
  const secret = 'prj-secret-value'
  await database.db.insert(projects).values({ uid: secret, name: 'taken' })
  const error: unknown = await database.db
    .insert(projects)
    .values({ uid: secret, name: 'other' })
    .catch((failure: unknown) => failure)
  expect(error).toBeInstanceOf(UniqueViolationError)
  expect(error).toMatchObject({ constraint: 'projects_pkey' })
  expect(inspect(error, { depth: 10 })).not.toContain(secret)
  expect(inspect(error, { depth: 10 })).not.toContain('insert into')
})

test('any other refusal names the SQLSTATE only', async () => {
  const error: unknown = await database.db
    .execute(sql`select ${'secret-text'}::int`)
    .catch((failure: unknown) => failure)
  expect(error).toBeInstanceOf(StoreError)
  expect(error).toMatchObject({ code: '22P02' })
  expect(inspect(error, { depth: 10 })).not.toContain('secret-text')
})

test('a failed transaction leaves nothing behind', async () => {
  const failing = withTransaction(database.db, async (tx) => {
    await tx.insert(pools).values({ name: 'half' })
    throw new Error('changed my mind')
  })
  await expect(failing).rejects.toThrow('changed my mind')
  expect(await database.db.select().from(pools)).toHaveLength(1)
})

test('a function that is given a transaction becomes part of it', async () => {
  const failing = withTransaction(database.db, async (outer) => {
    await withTransaction(outer, (tx) => tx.insert(pools).values({ name: 'inner' }))
    throw new Error('changed my mind')
  })
  await expect(failing).rejects.toThrow('changed my mind')
  expect(await database.db.select().from(pools)).toHaveLength(1)
})

test('a transaction that conflicts is tried again, a bounded number of times', async () => {
  let attempts = 0
  const result = await withTransaction(database.db, async () => {
    attempts += 1
    if (attempts < 3) throw new StoreConflictError('40001')
    return 'done'
  })
  expect([result, attempts]).toEqual(['done', 3])
  const hopeless = withTransaction(database.db, async () => {
    attempts += 1
    throw new StoreConflictError('40001')
  })
  await expect(hopeless).rejects.toBeInstanceOf(StoreUnavailableError)
  expect(attempts).toBe(8)
})

test('two transactions that lock each other out both succeed in the end', async () => {
  const expiresAt = new Date()
  await database.db.insert(leases).values([
    { name: 'a', expiresAt },
    { name: 'b', expiresAt },
  ])
  const bump = (first: string, second: string) =>
    withTransaction(database.db, async (tx) => {
      await tx.execute(sql`update leases set epoch = epoch + 1 where name = ${first}`)
      await tx.execute(sql`select pg_sleep(0.1)`)
      await tx.execute(sql`update leases set epoch = epoch + 1 where name = ${second}`)
    })
  await Promise.all([bump('a', 'b'), bump('b', 'a')])
  const rows = await database.db.select({ epoch: leases.epoch }).from(leases)
  expect(rows).toEqual([{ epoch: 2 }, { epoch: 2 }])
})

test('a connection cut between two statements fails its transaction and nothing else', async () => {
  const failing = withTransaction(database.db, async (tx) => {
    const { rows } = await tx.execute<{ pid: number }>(sql`select pg_backend_pid() as pid`)
    await database.db.execute(sql`select pg_terminate_backend(${rows[0]?.pid})`)
    await tx.execute(sql`select 1`)
  })
  await expect(failing).rejects.toBeInstanceOf(StoreUnavailableError)
  expect(await databaseAnswers(database.db)).toBe(true)
})

test('no statement, lock or transaction of a connection hangs without an end', async () => {
  const { rows } = await database.db.execute(
    sql`select name, setting from pg_settings where name in
        ('statement_timeout', 'lock_timeout', 'idle_in_transaction_session_timeout') order by name`,
  )
  expect(rows).toEqual([
    { name: 'idle_in_transaction_session_timeout', setting: '10000' },
    { name: 'lock_timeout', setting: '5000' },
    { name: 'statement_timeout', setting: '10000' },
  ])
})

test('a connection cut while it is idle costs nothing: it is told of, and the next query has another', async () => {
  const lost: string[] = []
  const db = openDatabase(database.url, {
    applicationName: 'idle',
    maxConnections: 1,
    onConnectionLost: (message) => lost.push(message),
  })
  const pid = async () => {
    const { rows } = await db.execute<{ pid: number }>(sql`select pg_backend_pid() as pid`)
    return rows[0]?.pid
  }
  const first = await pid()
  await database.db.execute(sql`select pg_terminate_backend(${first})`)
  await until(() => lost.length > 0, { describe: 'the loss to be told of' })
  expect(await pid()).not.toBe(first)
  await db.close()
  expect(lost).toEqual(['terminating connection due to administrator command'])
})

test('a database that is not there is unavailable, not a crash', async () => {
  const db = openDatabase('postgres://nobody@localhost/none?host=/nonexistent', {
    applicationName: 'test',
    maxConnections: 1,
  })
  await expect(db.select().from(pools)).rejects.toBeInstanceOf(StoreUnavailableError)
  await expect(withTransaction(db, (tx) => tx.select().from(pools))).rejects.toBeInstanceOf(
    StoreUnavailableError,
  )
  expect(await databaseAnswers(db)).toBe(false)
  await db.close()
})
