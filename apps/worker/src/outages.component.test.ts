import { rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { markReplicaDraining } from '@berth/db'
import type { FakeEngine } from '@berth/engine/testing'
import { afterEach, beforeEach, describe, expect, inject, test, vi } from 'vitest'
import { cuttableDatabase, type CuttableDatabase } from './leader/testing/cuttable-database.ts'
import { hangableRedis, type HangableRedis } from './redis/testing/hangable-redis.ts'
import { appsOn, patient, startWorkerBench, statusOf, type WorkerBench } from './testing/worker-bench.ts'

const freezing = { freezeAfterSeconds: 1, parkAfterSeconds: 'never', coldAfterSeconds: 'never' } as const

let bench: WorkerBench
let engine: FakeEngine

beforeEach(async () => {
  bench = await startWorkerBench({ postgresUrl: inject('postgresUrl'), redisUrl: inject('redisUrl') })
  engine = await bench.startEngine()
  await bench.insertNode('n1', engine)
})
afterEach(() => bench.stop())

describe('with Redis hung', () => {
  let way: HangableRedis
  beforeEach(async () => {
    const path = join(tmpdir(), `berth-hung-${bench.installation}`)
    await rm(path, { force: true })
    way = await hangableRedis(inject('redisUrl'), path)
  })
  afterEach(() => way.close())

  /** Longer than Redis may leave a heartbeat unanswered. */
  const untilItIsMissed = () => delay(3000)

  test('nothing is stepped down or retired, and both go on when it answers again', async () => {
    const { revision } = await bench.coldService({ idle: freezing })
    await bench.startWorker(undefined, way.url)
    await vi.waitFor(() => expect(bench.router.revision(revision)).toBeDefined(), patient)
    bench.router.load(revision, { queued: 2, inFlight: 0 })
    await vi.waitFor(() => expect(bench.served(revision)).toHaveLength(2), patient)
    const [leaving, idle] = bench.served(revision)
    way.hang()
    await untilItIsMissed()
    bench.router.load(revision, null)
    bench.router.idleMs = 60_000
    await markReplicaDraining(bench.database.db, await bench.leaderLease(), leaving?.id ?? '')
    await delay(2000)
    expect(appsOn(engine).map(({ status }) => status)).toEqual(['running', 'running'])
    expect(bench.served(revision).map(({ id }) => id)).toEqual([leaving?.id, idle?.id])
    way.resume()
    await vi.waitFor(async () => {
      expect(appsOn(engine).map(({ status }) => status)).toEqual(['paused'])
      expect(await bench.rows()).toMatchObject([{ id: idle?.id, rung: 'frozen' }])
    }, patient)
  })
})

describe('a take-over', () => {
  test('serves what runs on a node whose engine hangs', async () => {
    const { revision } = await bench.coldService({ minScale: 1 })
    await bench.startWorker()
    await vi.waitFor(() => expect(bench.served(revision)).toHaveLength(1), patient)
    const [replica] = bench.served(revision)
    await bench.stopWorkers()
    engine.hang('GET /images/*/json')
    engine.hang('GET /containers/json')
    await bench.startWorker()
    await vi.waitFor(() => expect(new Set(bench.router.epochs).size).toBe(2), patient)
    expect(bench.served(revision)).toEqual([replica])
    engine.release()
  })

  test('hands on the routers that the leader before knew', async () => {
    await bench.startWorker()
    const routers = async () =>
      (await bench.database.db.execute('select id from routers')).rows.map((row) => row['id'])
    await vi.waitFor(async () => expect(await routers()).toEqual(['router-1']), patient)
    await bench.stopWorkers()
    expect(await routers()).toEqual(['router-1'])
  })
})

describe('without Postgres', () => {
  let way: CuttableDatabase
  beforeEach(async () => {
    way = await cuttableDatabase(bench.database.url, bench.folder)
  })
  afterEach(() => way.cut())

  test('a frozen replica wakes, and its row follows when the database is back', async () => {
    const { revision } = await bench.coldService({
      idle: { freezeAfterSeconds: 1, parkAfterSeconds: 'never', coldAfterSeconds: 'never' },
    })
    await bench.startWorker(way.url)
    await vi.waitFor(() => expect(bench.router.revision(revision)).toBeDefined(), patient)
    bench.router.load(revision, { queued: 1, inFlight: 0 })
    await vi.waitFor(() => expect(bench.served(revision)).toHaveLength(1), patient)
    bench.router.load(revision, null)
    bench.router.idleMs = 60_000
    await vi.waitFor(async () => expect(await bench.rows()).toMatchObject([{ rung: 'frozen' }]), patient)
    await way.cut()
    bench.router.idleMs = 0
    bench.router.load(revision, { queued: 1, inFlight: 0 })
    await vi.waitFor(() => expect(bench.served(revision)).toHaveLength(1), patient)
    await vi.waitFor(() => expect(appsOn(engine)[0]?.status).toBe('running'), patient)
    expect(await statusOf(bench.served(revision)[0]?.port ?? 0)).toBe(200)
    expect(await bench.rows()).toMatchObject([{ rung: 'frozen' }])
    await way.mend()
    await vi.waitFor(async () => expect(await bench.rows()).toMatchObject([{ rung: 'running' }]), patient)
  })

  test('a cold revision says that nothing can be reserved', async () => {
    const { revision } = await bench.coldService()
    await bench.startWorker(way.url)
    await vi.waitFor(() => expect(bench.router.revision(revision)).toBeDefined(), patient)
    await bench.nodesReady('n1')
    await way.cut()
    bench.router.load(revision, { queued: 1, inFlight: 0 })
    await vi.waitFor(
      () => expect(bench.router.revision(revision)?.blocked?.message).toMatch(/without the database/),
      patient,
    )
    await way.mend()
    await vi.waitFor(() => expect(bench.served(revision)).toHaveLength(1), patient)
  })
})
