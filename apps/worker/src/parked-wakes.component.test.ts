import { setTimeout as delay } from 'node:timers/promises'
import { insertNode, insertReplica, insertRevision } from '@berth/db/testing'
import type { FakeEngine } from '@berth/engine/testing'
import { afterEach, beforeEach, expect, inject, test, vi } from 'vitest'
import { appsOn, endpointOf, startWorkerBench, type WorkerBench } from './testing/worker-bench.ts'

const patient = { timeout: 30_000, interval: 25 }
const parking = { freezeAfterSeconds: 'never', parkAfterSeconds: 1, coldAfterSeconds: 'never' } as const
const mebibyte = 1024 ** 2

let bench: WorkerBench
let engine: FakeEngine
let node: string
let revision: string

/** A parked replica on a node that has place for one, and too little for its app to be held. */
beforeEach(async () => {
  bench = await startWorkerBench({ postgresUrl: inject('postgresUrl'), redisUrl: inject('redisUrl') })
  engine = await bench.startEngine()
  const capacity = { cpuMillis: 2000, memoryBytes: 100 * mebibyte }
  const about = { name: 'n1', endpoint: endpointOf(engine), capacity, systemReservedBytes: 0 }
  node = (await insertNode(bench.database.db, about, { reachability: 'down' })).uid
  revision = (await bench.coldService({ idle: parking })).revision
  await bench.startWorker()
  await vi.waitFor(() => expect(bench.router.revision(revision)).toBeDefined(), patient)
  bench.router.load(revision, { queued: 1, inFlight: 0 })
  await vi.waitFor(() => expect(bench.served(revision)).toHaveLength(1), patient)
  bench.router.load(revision, null)
  bench.router.idleMs = 60_000
  await vi.waitFor(async () => expect(await bench.rows()).toMatchObject([{ rung: 'parked' }]), patient)
  bench.router.idleMs = 0
})
afterEach(() => bench.stop())

/** Another worker promises the node's memory while `work` runs, and nobody hears of it before. */
async function promisedMeanwhile(work: () => Promise<void>): Promise<void> {
  const other = await insertRevision(bench.database.db)
  await bench.database.db.transaction(async (tx) => {
    await tx.execute(`select * from nodes where uid = '${node}' for no key update`)
    const place = { revisionUid: other.uid, nodeUid: node, hostPort: 20_900 }
    await insertReplica(tx, { ...place, state: 'starting', memoryBytes: 64 * mebibyte })
    await work()
  })
}

test('a replica whose place was given away while it started never serves and is parked again', async () => {
  const [app] = appsOn(engine)
  const callsOf = (verb: string) =>
    engine.calls.filter((call) => call.includes(app?.id ?? '') && call.endsWith(verb))
  expect([callsOf('start').length, callsOf('stop').length]).toEqual([1, 1])
  engine.hang(`POST /containers/${app?.id}/start`)
  await promisedMeanwhile(async () => {
    bench.router.load(revision, { queued: 1, inFlight: 0 })
    await vi.waitFor(() => expect(callsOf('start')).toHaveLength(2), patient)
    bench.router.load(revision, null)
    await vi.waitFor(async () => expect(await waitsForLock()).toBe(true), patient)
  })
  // The promise is committed: what the wake has asked for is refused before the engine answers.
  await vi.waitFor(async () => expect(await waitsForLock()).toBe(false), patient)
  await delay(1000)
  engine.release()
  await vi.waitFor(() => expect(callsOf('stop')).toHaveLength(2), patient)
  await vi.waitFor(() => expect(app?.status).toBe('exited'), patient)
  expect(bench.served(revision)).toEqual([])
  expect((await bench.rows()).find(({ revisionUid }) => revisionUid === revision)?.rung).toBe('parked')
})

async function waitsForLock(): Promise<boolean> {
  const { rows } = await bench.database.db.execute(
    `select 1 from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'`,
  )
  return rows.length > 0
}

test('a replica that serves before the rows can say no runs on, and the rows say so', async () => {
  await promisedMeanwhile(async () => {
    bench.router.load(revision, { queued: 1, inFlight: 0 })
    await vi.waitFor(() => expect(bench.served(revision)).toHaveLength(1), patient)
    bench.router.load(revision, { queued: 0, inFlight: 1 })
  })
  // Nobody takes the row at its old word meanwhile.
  for (let looks = 0; looks < 60; looks += 1) {
    expect(bench.served(revision)).toHaveLength(1)
    await delay(25)
  }
  await vi.waitFor(async () => {
    const own = (await bench.rows()).find(({ revisionUid }) => revisionUid === revision)
    expect(own?.rung).toBe('running')
  }, patient)
})
