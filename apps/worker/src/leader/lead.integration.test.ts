import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { acquireLease, Keyring, leaderLeaseName } from '@berth/db'
import { createTestDatabase, type TestDatabase } from '@berth/db/testing'
import { pino } from 'pino'
import { afterEach, beforeEach, expect, inject, test, vi } from 'vitest'
import { lead } from './lead.ts'
import type { Term } from './leadership.ts'
import { openRouterHub, type RouterHub } from './router-hub.ts'

const log = pino({ level: 'silent' })
const patient = { timeout: 30_000, interval: 20 }

let database: TestDatabase
let folder: string
let hub: RouterHub

beforeEach(async () => {
  database = await createTestDatabase(inject('postgresUrl'))
  folder = await mkdtemp(join(tmpdir(), 'lead-'))
  const relay = { publish: () => undefined, onFrame: () => () => undefined }
  hub = await openRouterHub({ socketPath: join(folder, 'hub.sock'), relay, log })
})
afterEach(async () => {
  await hub.close()
  await database.drop()
  await rm(folder, { recursive: true })
})

/** Leads without nodes and services through `routers`, until the test ends the term. */
async function leadThrough(routers: RouterHub) {
  const lease = await acquireLease(database.db, leaderLeaseName, 'wrk-1', 60_000)
  if (!lease) throw new Error('somebody leads')
  const over = new AbortController()
  const fence = { check: () => undefined }
  const term: Term = {
    lease,
    fence,
    wakeFence: fence,
    signal: over.signal,
    isFresh: () => true,
    lose: () => over.abort(),
  }
  const onLeading = vi.fn()
  const led = lead(
    {
      db: database.db,
      databaseUrl: database.url,
      installation: 'lead',
      domain: 'localhost',
      networkCidr: '198.18.0.0/16',
      keyring: new Keyring(Buffer.alloc(32, 7)),
      busybox: join(folder, 'busybox'),
      hub: routers,
      hubSocket: join(folder, 'hub.sock'),
      controlSocket: join(folder, 'control.sock'),
      registryAccess: () => ({ allowedHosts: [], credentials: () => undefined }),
      redisHealthy: () => true,
      reconcile: () => undefined,
      onLeading,
      log,
    },
    term,
  )
  await vi.waitFor(() => expect(onLeading).toHaveBeenCalled(), patient)
  return { led, over }
}

test('routers are let go the moment the term is over', async () => {
  const stopLeading = vi.fn(() => hub.stopLeading())
  const { led, over } = await leadThrough({ ...hub, stopLeading })
  expect(stopLeading).not.toHaveBeenCalled()
  over.abort()
  expect(stopLeading).toHaveBeenCalled()
  await led
})

test('a part that fails to close keeps no other open', async () => {
  const left = vi.fn()
  const onDemand = () => () => {
    throw new Error('it does not close')
  }
  const membership = { ...hub.membership, onChange: () => left }
  const { led, over } = await leadThrough({ ...hub, membership, reports: { ...hub.reports, onDemand } })
  over.abort()
  await led
  expect(left).toHaveBeenCalled()
})
