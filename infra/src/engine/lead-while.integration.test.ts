import { acquireLease, type Database, leaderLeaseName, readLease, releaseLease } from '@berth/db'
import { createTestDatabase, type TestDatabase } from '@berth/db/testing'
import { afterEach, beforeEach, expect, inject, test } from 'vitest'
import { leadWhile } from './lead-while.ts'

let database: TestDatabase
let db: Database

beforeEach(async () => {
  database = await createTestDatabase(inject('postgresUrl'))
  db = database.db
})

afterEach(() => database.drop())

test('nobody else leads meanwhile, and anybody may afterwards', async () => {
  const during = await leadWhile(db, 'down-1', async (fence) => {
    fence.check()
    return {
      holder: (await readLease(db, leaderLeaseName))?.holder,
      other: await acquireLease(db, leaderLeaseName, 'worker', 5000),
    }
  })
  expect(during).toEqual({ holder: 'down-1', other: null })
  expect(await acquireLease(db, leaderLeaseName, 'worker', 5000)).not.toBeNull()
})

test('while a worker elsewhere leads nothing is done', async () => {
  await acquireLease(db, leaderLeaseName, 'worker', 60_000)
  let done = false
  const work = () => {
    done = true
    return Promise.resolve('led')
  }
  const led = await leadWhile(db, 'down-1', work, 300)
  expect(led).toBeNull()
  expect(done).toBe(false)
})

test('waits for a lease that its holder gives up late', async () => {
  const lease = await acquireLease(db, leaderLeaseName, 'worker', 60_000)
  const led = leadWhile(db, 'down-1', () => Promise.resolve('led'))
  if (lease !== null) setTimeout(() => void releaseLease(db, lease), 600)
  expect(await led).toBe('led')
})
