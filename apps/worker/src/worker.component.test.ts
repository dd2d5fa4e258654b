import { join } from 'node:path'
import type { RevisionUid, ServiceUid } from '@berth/contracts'
import { readWorld, reserveReplica } from '@berth/db'
import type { FakeEngine } from '@berth/engine/testing'
import { afterEach, beforeEach, describe, expect, inject, test, vi } from 'vitest'
import { standInRouter, type StandInRouter } from './leader/testing/stand-in-router.ts'
import { appsOn, patient, startWorkerBench, statusOf, type WorkerBench } from './testing/worker-bench.ts'

let bench: WorkerBench
let engine: FakeEngine
let router: StandInRouter

beforeEach(async () => {
  bench = await startWorkerBench({ postgresUrl: inject('postgresUrl'), redisUrl: inject('redisUrl') })
  engine = await bench.startEngine()
  router = bench.router
})
afterEach(() => bench.stop())

/** A cold service and one node for it. */
async function coldService(
  change: Parameters<WorkerBench['coldService']>[0] = {},
): Promise<{ service: ServiceUid; revision: RevisionUid }> {
  await bench.insertNode('n1', engine)
  return await bench.coldService(change)
}

const start = (databaseUrl?: string) => bench.startWorker(databaseUrl)
const rows = () => bench.rows()
const served = (revision: string) => bench.served(revision)
const apps = () => appsOn(engine)

describe('a cold revision', () => {
  test('starts when a request waits, and answers where the routes say', async () => {
    const { revision } = await coldService()
    await start()
    await vi.waitFor(() => expect(router.revision(revision)).toBeDefined(), patient)
    router.load(revision, { queued: 1, inFlight: 0 })
    await vi.waitFor(() => expect(served(revision)).toHaveLength(1), patient)
    expect(await statusOf(served(revision)[0]?.port ?? 0)).toBe(200)
    await vi.waitFor(
      async () => expect(await rows()).toMatchObject([{ state: 'ready', rung: 'running' }]),
      patient,
    )
  })

  test('is never scaled beyond maxScale', async () => {
    const { revision } = await coldService({ maxScale: 3 })
    await start()
    await vi.waitFor(() => expect(router.revision(revision)).toBeDefined(), patient)
    router.load(revision, { queued: 40, inFlight: 0 })
    await vi.waitFor(() => expect(served(revision)).toHaveLength(3), patient)
    expect(router.revision(revision)?.atMaxScale).toBe(true)
    expect(await rows()).toHaveLength(3)
    expect(engine.calls.filter((call) => call === 'POST /containers/create').length).toBeGreaterThan(0)
    expect(apps()).toHaveLength(3)
  })

  test('answers why it cannot be placed', async () => {
    const { revision } = await coldService()
    await bench.database.db.execute(`update nodes set capacity = '{"cpuMillis": 1000, "memoryBytes": 1000}'`)
    await start()
    await vi.waitFor(() => expect(router.revision(revision)).toBeDefined(), patient)
    router.load(revision, { queued: 1, inFlight: 0 })
    await vi.waitFor(
      () => expect(router.revision(revision)?.blocked).toMatchObject({ reason: 'Unplaceable' }),
      patient,
    )
    router.load(revision, null)
    await vi.waitFor(() => expect(router.revision(revision)?.blocked).toBeNull(), patient)
  })
})

describe('minScale', () => {
  test('is kept without any request', async () => {
    const { revision } = await coldService({ minScale: 2 })
    await start()
    await vi.waitFor(() => expect(served(revision)).toHaveLength(2), patient)
  })

  test('an app that ends is started again in its place', async () => {
    const { revision } = await coldService({ minScale: 1 })
    await start()
    await vi.waitFor(() => expect(served(revision)).toHaveLength(1), patient)
    const app = apps()[0]
    engine.exit(app?.name ?? '', { exitCode: 3 })
    await vi.waitFor(async () => expect(await rows()).toMatchObject([{ restarts: 1 }]), patient)
    await vi.waitFor(() => expect(apps()[0]?.status).toBe('running'), patient)
    await vi.waitFor(() => expect(served(revision)).toHaveLength(1), patient)
  })

  test('a replica whose containers were removed is replaced', async () => {
    const { revision } = await coldService({ minScale: 1 })
    await start()
    await vi.waitFor(() => expect(served(revision)).toHaveLength(1), patient)
    const first = served(revision)[0]?.id
    for (const { id } of engine.containers()) engine.state.remove(engine.state.find(id))
    await vi.waitFor(() => {
      expect(served(revision)).toHaveLength(1)
      expect(served(revision)[0]?.id).not.toBe(first)
    }, patient)
  })
})

describe('another worker', () => {
  test('takes over what runs and what is starting, under a new epoch', async () => {
    const { service, revision } = await coldService({ minScale: 1 })
    await start()
    await vi.waitFor(() => expect(served(revision)).toHaveLength(1), patient)
    const lease = await bench.leaderLease()
    engine.hang('POST /containers/*/start', { times: 1 })
    const reserved = await reserveReplica(bench.database.db, lease, {
      serviceUid: service,
      revisionUid: revision,
      nodeUid: (await readWorld(bench.database.db)).nodes[0]?.uid ?? '',
      deploymentId: null,
      cpuMillis: 100,
      memoryBytes: 1024,
      maxReplicas: 20,
    })
    expect(reserved.kind).toBe('reserved')
    await bench.stopWorkers()
    engine.release()
    await start()
    await vi.waitFor(() => expect(served(revision)).toHaveLength(2), patient)
    expect(new Set(router.epochs).size).toBe(2)
    expect(apps()).toHaveLength(2)
  })
})

describe('a database from a backup', () => {
  let other: StandInRouter
  afterEach(() => other.close())

  /** A router that serves a table of a leader that the database knows nothing of. */
  function routerThatRemembers(epoch: number): StandInRouter {
    return standInRouter(join(bench.folder, 'hub.sock'), 'router-2', {
      kind: 'snapshot',
      installation: bench.installation,
      version: { epoch, sequence: 7 },
      hosts: [],
      revisions: [],
    })
  }

  test('gets a leader whom such a router hears', async () => {
    const { revision } = await coldService()
    other = routerThatRemembers(40)
    await start()
    await vi.waitFor(() => expect(other.revision(revision)).toBeDefined(), patient)
    expect(other.version?.epoch).toBeGreaterThan(40)
    await vi.waitFor(() => expect(router.version?.epoch).toBe(other.version?.epoch), patient)
    other.load(revision, { queued: 1, inFlight: 0 })
    await vi.waitFor(() => expect(served(revision)).toHaveLength(1), patient)
  })

  test('is no reason to follow a router that claims more than any leader was', async () => {
    const { revision } = await coldService()
    other = routerThatRemembers(2 ** 52)
    await start()
    await vi.waitFor(() => expect(router.revision(revision)).toBeDefined(), patient)
    router.load(revision, { queued: 1, inFlight: 0 })
    await vi.waitFor(() => expect(served(revision)).toHaveLength(1), patient)
    expect(router.version?.epoch).toBe(1)
  })
})
