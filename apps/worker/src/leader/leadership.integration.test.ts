import type { WorkerId } from '@berth/contracts'
import { openDatabase } from '@berth/db'
import { createTestDatabase, type TestDatabase } from '@berth/db/testing'
import { pino } from 'pino'
import { afterEach, beforeEach, expect, inject, test, vi } from 'vitest'
import { startLeadership, type Leadership, type Term } from './leadership.ts'

const log = pino({ level: 'silent' })
const patient = { timeout: 30_000, interval: 20 }

let database: TestDatabase
const running: Leadership[] = []

beforeEach(async () => {
  database = await createTestDatabase(inject('postgresUrl'))
})
afterEach(async () => {
  for (const leadership of running.splice(0)) await leadership.close()
  await database.drop()
})

function compete(worker: string, now?: () => number, renewEveryMs = 50) {
  const terms: Term[] = []
  const leadership = startLeadership({
    db: database.db,
    worker: worker as WorkerId,
    log,
    renewEveryMs,
    ...(now ? { now } : {}),
    async lead(term) {
      terms.push(term)
      await new Promise<void>((resolve) => {
        term.signal.addEventListener('abort', () => resolve())
      })
    },
  })
  running.push(leadership)
  return { leadership, terms }
}

test('one leads, and the other takes over under a higher epoch when it ends', async () => {
  const first = compete('wrk-1')
  await vi.waitFor(() => expect(first.terms).toHaveLength(1), patient)
  const second = compete('wrk-2')
  await first.leadership.close()
  await vi.waitFor(() => expect(second.terms).toHaveLength(1), patient)
  expect(second.terms[0]?.lease.epoch).toBe((first.terms[0]?.lease.epoch ?? 0) + 1)
  expect(() => first.terms[0]?.fence.check()).toThrow()
  expect(() => second.terms[0]?.fence.check()).not.toThrow()
})

test('a holder that somebody has replaced stops at once', async () => {
  const first = compete('wrk-1')
  await vi.waitFor(() => expect(first.terms).toHaveLength(1), patient)
  await database.db.execute(`update leases set holder = 'wrk-9', epoch = epoch + 1,
    expires_at = clock_timestamp() + interval '1 minute'`)
  await vi.waitFor(() => expect(first.terms[0]?.signal.aborted).toBe(true), patient)
  expect(() => first.terms[0]?.wakeFence.check()).toThrow()
})

test('a process that stood still changes nothing before it has renewed', async () => {
  let stoodStillMs = 0
  const first = compete('wrk-1', () => performance.now() + stoodStillMs)
  await vi.waitFor(() => expect(first.terms).toHaveLength(1), patient)
  const term = first.terms[0]
  stoodStillMs += 60_000
  expect(() => term?.fence.check()).toThrow()
  expect(() => term?.wakeFence.check()).toThrow()
  await vi.waitFor(() => expect(term?.isFresh()).toBe(true), patient)
})

test('without the database it only wakes', async () => {
  const gone = openDatabase(database.url, { applicationName: 'test', maxConnections: 2 })
  let skipMs = 0
  const terms: Term[] = []
  const leadership = startLeadership({
    db: gone,
    worker: 'wrk-1' as WorkerId,
    log,
    renewEveryMs: 20,
    now: () => performance.now() + skipMs,
    async lead(term) {
      terms.push(term)
      await new Promise<void>((resolve) => {
        term.signal.addEventListener('abort', () => resolve())
      })
    },
  })
  running.push(leadership)
  await vi.waitFor(() => expect(terms).toHaveLength(1), patient)
  await gone.close()
  skipMs += 5_000
  const term = terms[0]
  await vi.waitFor(() => expect(() => term?.wakeFence.check()).not.toThrow(), patient)
  expect(() => term?.fence.check()).toThrow()
  expect(term?.signal.aborted).toBe(false)
})

test('a renewal that was answered late counts from when it was asked for', async () => {
  const first = compete('wrk-1', undefined, 2_000)
  await vi.waitFor(() => expect(first.terms).toHaveLength(1), patient)
  const isFresh = () => first.terms[0]?.isFresh()
  const release = Promise.withResolvers<void>()
  const locked = database.db.transaction(async (tx) => {
    await tx.execute('select * from leases for update')
    await release.promise
  })
  await vi.waitFor(() => expect(isFresh()).toBe(false), patient)
  release.resolve()
  await locked
  // The next question is more than a second away.
  await vi.waitFor(() => expect(isFresh()).toBe(true), { timeout: 1_000, interval: 20 })
})

test('a lease that a late answer calls lost is lost', async () => {
  const first = compete('wrk-1', undefined, 2_000)
  await vi.waitFor(() => expect(first.terms).toHaveLength(1), patient)
  const taken = database.db.transaction(async (tx) => {
    await tx.execute(`update leases set holder = 'wrk-9', epoch = epoch + 1,
      expires_at = clock_timestamp() + interval '1 minute'`)
    await vi.waitFor(() => expect(first.terms[0]?.isFresh()).toBe(false), patient)
  })
  await taken
  await vi.waitFor(() => expect(first.terms[0]?.signal.aborted).toBe(true), { timeout: 1_000 })
})
