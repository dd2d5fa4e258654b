import { sql } from 'drizzle-orm'
import { afterAll, beforeAll, expect, inject, test } from 'vitest'
import { withTransaction } from './connection.ts'
import {
  acquireLease,
  leaseHeld,
  LeaseLostError,
  readLease,
  releaseLease,
  releaseLeaseAbove,
  renewLease,
  requireLease,
  type LeaseRef,
} from './leases.ts'
import { pools } from './schema.ts'
import { createTestDatabase, type TestDatabase } from './testing/test-database.ts'

const long = 600_000
let database: TestDatabase
beforeAll(async () => {
  database = await createTestDatabase(inject('postgresUrl'))
})
afterAll(() => database.drop())

async function taken(name: string, holder: string, ms = long): Promise<LeaseRef> {
  const lease = await acquireLease(database.db, name, holder, ms)
  if (lease === null) throw new Error(`${name} is held`)
  return lease
}

test('a held lease is refused to everybody, its holder included', async () => {
  const lease = await taken('held', 'a')
  expect(lease).toEqual({ name: 'held', holder: 'a', epoch: 1 })
  expect(await acquireLease(database.db, 'held', 'b', long)).toBeNull()
  expect(await acquireLease(database.db, 'held', 'a', long)).toBeNull()
  expect(await readLease(database.db, 'held')).toEqual(lease)
})

test('a lease that was given back goes to the next one with a higher epoch', async () => {
  const first = await taken('given', 'a')
  await releaseLease(database.db, first)
  expect(await readLease(database.db, 'given')).toBeNull()
  expect((await taken('given', 'b')).epoch).toBe(2)
  expect(await renewLease(database.db, first, long)).toBe(false)
})

test('a lease that was given back above an epoch goes on from there, and never down', async () => {
  const first = await taken('lifted', 'a')
  expect(await releaseLeaseAbove(database.db, first, 40)).toBe(true)
  const second = await taken('lifted', 'b')
  expect(second.epoch).toBe(41)
  expect(await releaseLeaseAbove(database.db, first, 90)).toBe(false)
  expect(await releaseLeaseAbove(database.db, second, 7)).toBe(true)
  expect((await taken('lifted', 'c')).epoch).toBe(42)
})

test('a lease that ran out can be renewed until somebody takes it', async () => {
  const first = await taken('ran-out', 'a', -1000)
  expect(await readLease(database.db, 'ran-out')).toBeNull()
  expect(await renewLease(database.db, first, -1000)).toBe(true)
  const second = await taken('ran-out', 'b')
  expect(second.epoch).toBe(2)
  expect(await renewLease(database.db, first, long)).toBe(false)
})

test('of many that ask at once exactly one gets it', async () => {
  const asked = Array.from({ length: 12 }, (_, index) =>
    acquireLease(database.db, 'contended', `holder-${index}`, long),
  )
  expect((await Promise.all(asked)).filter((lease) => lease !== null)).toHaveLength(1)
})

test('whoever lost the lease writes nothing', async () => {
  const first = await taken('guard', 'a', -1000)
  const second = await taken('guard', 'b')
  const write = (lease: LeaseRef) =>
    withTransaction(database.db, async (tx) => {
      await requireLease(tx, lease)
      await tx.insert(pools).values({ name: `pool-${lease.holder}` })
    })
  await expect(write(first)).rejects.toBeInstanceOf(LeaseLostError)
  await write(second)
  const guarded = (lease: LeaseRef) =>
    database.db
      .update(pools)
      .set({ overcommitCpu: 3 })
      .where(sql`${pools.name} = 'pool-b' and ${leaseHeld(lease)}`)
      .returning()
  expect(await guarded(first)).toEqual([])
  expect(await guarded(second)).toHaveLength(1)
})
