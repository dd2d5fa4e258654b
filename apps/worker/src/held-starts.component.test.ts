import type { FakeEngine } from '@berth/engine/testing'
import { afterEach, beforeEach, expect, inject, test, vi } from 'vitest'
import { cuttableDatabase, type CuttableDatabase } from './leader/testing/cuttable-database.ts'
import { appsOn, patient, startWorkerBench, statusOf, type WorkerBench } from './testing/worker-bench.ts'

const parking = { freezeAfterSeconds: 'never', parkAfterSeconds: 1, coldAfterSeconds: 'never' } as const

let bench: WorkerBench
let engine: FakeEngine
let way: CuttableDatabase
let revision: string

/** A replica that has served and is parked now, with its app held. */
beforeEach(async () => {
  bench = await startWorkerBench({ postgresUrl: inject('postgresUrl'), redisUrl: inject('redisUrl') })
  engine = await bench.startEngine()
  await bench.insertNode('n1', engine)
  way = await cuttableDatabase(bench.database.url, bench.folder)
  revision = (await bench.coldService({ idle: parking })).revision
  await bench.startWorker(way.url)
  await vi.waitFor(() => expect(bench.router.revision(revision)).toBeDefined(), patient)
  await wake()
  await park()
})
afterEach(async () => {
  await bench.stop()
  await way.cut()
})

async function wake(): Promise<void> {
  bench.router.idleMs = 0
  bench.router.load(revision, { queued: 1, inFlight: 0 })
  await vi.waitFor(() => expect(bench.served(revision)).toHaveLength(1), patient)
}

async function park(): Promise<void> {
  bench.router.load(revision, null)
  bench.router.idleMs = 60_000
  await vi.waitFor(async () => {
    const [row] = await bench.rows()
    expect(row).toMatchObject({ rung: 'parked', containers: { app: app()?.id } })
    expect(app()).toMatchObject({ held: true })
  }, patient)
}

const app = () => appsOn(engine).find(({ name }) => name.endsWith('-app'))
const startsOf = (id = '') => engine.calls.filter((call) => call === `POST /containers/${id}/start`).length
const releasesOf = (id = '') => engine.calls.filter((call) => call === `POST /containers/${id}/kill`).length

test('a parked replica is woken by letting its app go, and held again when it parks again', async () => {
  const held = app()
  await wake()
  expect(await statusOf(bench.served(revision)[0]?.port ?? 0)).toBe(200)
  expect([startsOf(held?.id), releasesOf(held?.id)]).toEqual([1, 1])
  expect(app()).toMatchObject({ id: held?.id, held: false, status: 'running' })
  await park()
  expect(app()?.id).toBe(held?.id)
  await wake()
  expect([startsOf(held?.id), releasesOf(held?.id)]).toEqual([2, 2])
})

test('it counts as parked, and a new leader finds it as it is and wakes it', async () => {
  const held = app()
  await bench.stopWorkers()
  await bench.startWorker(way.url)
  await vi.waitFor(() => expect(new Set(bench.router.epochs).size).toBe(2), patient)
  expect(bench.served(revision)).toEqual([])
  expect(await bench.rows()).toMatchObject([{ state: 'ready', rung: 'parked' }])
  await wake()
  expect([startsOf(held?.id), releasesOf(held?.id)]).toEqual([1, 1])
})

test('it wakes without Postgres', async () => {
  await way.cut()
  await wake()
  expect(await statusOf(bench.served(revision)[0]?.port ?? 0)).toBe(200)
  expect(releasesOf(app()?.id)).toBe(1)
  await way.mend()
  await vi.waitFor(async () => expect(await bench.rows()).toMatchObject([{ rung: 'running' }]), patient)
})

test('one that ends with its engine is no error, and is held anew', async () => {
  const held = app()
  engine.exit(held?.id ?? '', { exitCode: 143 })
  await vi.waitFor(() => expect([app()?.held, startsOf(held?.id)]).toEqual([true, 2]), patient)
  expect(await bench.rows()).toMatchObject([{ state: 'ready', rung: 'parked', restarts: 0 }])
})

test('one that crashes after it was let go is started again in its place', async () => {
  await wake()
  bench.router.load(revision, { queued: 0, inFlight: 1 })
  const crashed = app()
  engine.exit(crashed?.id ?? '', { exitCode: 9 })
  await vi.waitFor(
    async () => expect(await bench.rows()).toMatchObject([{ restarts: 1, state: 'ready' }]),
    patient,
  )
  expect(app()).toMatchObject({ id: crashed?.id, held: false, hold: 'passing' })
  await vi.waitFor(async () => {
    expect(await statusOf(bench.served(revision)[0]?.port ?? 0)).toBe(200)
  }, patient)
})
