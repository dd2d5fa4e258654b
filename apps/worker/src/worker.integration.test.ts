import { request } from 'node:http'
import { join } from 'node:path'
import type { IdleSettings, RevisionUid, ServiceUid } from '@berth/contracts'
import { markReplicaDraining, readWorld, reserveReplica } from '@berth/db'
import { insertNode } from '@berth/db/testing'
import type { FakeEngine } from '@berth/engine/testing'
import { afterEach, beforeEach, describe, expect, inject, test, vi } from 'vitest'
import { cuttableDatabase, type CuttableDatabase } from './leader/testing/cuttable-database.ts'
import { standInRouter, type StandInRouter } from './leader/testing/stand-in-router.ts'
import { appsOn, endpointOf, startWorkerBench, type WorkerBench } from './testing/worker-bench.ts'

const patient = { timeout: 30_000, interval: 25 }

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
  await insertNode(bench.database.db, { name: 'n1', endpoint: endpointOf(engine) }, { reachability: 'down' })
  return await bench.coldService(change)
}

const start = (databaseUrl?: string) => bench.startWorker(databaseUrl)
const rows = () => bench.rows()
const served = (revision: string) => bench.served(revision)
const apps = () => appsOn(engine)

function get(port: number): Promise<number> {
  return new Promise((resolve, reject) => {
    const asked = request({ host: '127.0.0.1', port, agent: false }, (response) => {
      response.resume()
      resolve(response.statusCode ?? 0)
    })
    asked.once('error', reject)
    asked.end()
  })
}

describe('a cold revision', () => {
  test('starts when a request waits, and answers where the routes say', async () => {
    const { revision } = await coldService()
    await start()
    await vi.waitFor(() => expect(router.revision(revision)).toBeDefined(), patient)
    router.load(revision, { queued: 1, inFlight: 0 })
    await vi.waitFor(() => expect(served(revision)).toHaveLength(1), patient)
    expect(await get(served(revision)[0]?.port ?? 0)).toBe(200)
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

describe('the idle ladder', () => {
  test('goes down to frozen, parked and cold, each step withdrawn first', async () => {
    const idle: IdleSettings = { freezeAfterSeconds: 1, parkAfterSeconds: 2, coldAfterSeconds: 3 }
    const { revision } = await coldService({ idle })
    await start()
    await vi.waitFor(() => expect(router.revision(revision)).toBeDefined(), patient)
    router.load(revision, { queued: 1, inFlight: 0 })
    await vi.waitFor(() => expect(served(revision)).toHaveLength(1), patient)
    const id = served(revision)[0]?.id ?? ''
    router.lingering.add(id)
    router.load(revision, null)
    router.idleMs = 1_500
    await vi.waitFor(() => expect(served(revision)).toHaveLength(0), patient)
    expect(apps()[0]?.status).toBe('running')
    router.lingering.clear()
    await vi.waitFor(() => expect(apps()[0]?.status).toBe('paused'), patient)
    await vi.waitFor(async () => expect(await rows()).toMatchObject([{ rung: 'frozen' }]), patient)
    await vi.waitFor(() => expect(apps()[0]?.status).toBe('exited'), patient)
    await vi.waitFor(async () => expect(await rows()).toHaveLength(0), patient)
    expect(apps()).toHaveLength(0)
  })

  test('wakes from frozen and from parked', async () => {
    const { service, revision } = await coldService({
      idle: { freezeAfterSeconds: 1, parkAfterSeconds: 'never', coldAfterSeconds: 'never' },
    })
    await start()
    await vi.waitFor(() => expect(router.revision(revision)).toBeDefined(), patient)
    const wake = async () => {
      router.load(revision, { queued: 1, inFlight: 0 })
      await vi.waitFor(() => expect(served(revision)).toHaveLength(1), patient)
      await vi.waitFor(() => expect(apps()[0]?.status).toBe('running'), patient)
      expect(await get(served(revision)[0]?.port ?? 0)).toBe(200)
      router.load(revision, null)
    }
    await wake()
    router.idleMs = 60_000
    await vi.waitFor(() => expect(apps()[0]?.status).toBe('paused'), patient)
    await wake()
    const parked = '{"freezeAfterSeconds": "never", "parkAfterSeconds": 1, "coldAfterSeconds": "never"}'
    await bench.database.db.execute(`update services set idle = '${parked}' where uid = '${service}'`)
    await vi.waitFor(() => expect(apps()[0]?.status).toBe('exited'), patient)
    await wake()
    expect(await rows()).toHaveLength(1)
  })
})

describe('a draining replica', () => {
  test('stops when every router has let go of it', async () => {
    const { revision } = await coldService({ minScale: 1 })
    await start()
    await vi.waitFor(() => expect(served(revision)).toHaveLength(1), patient)
    const id = served(revision)[0]?.id ?? ''
    router.lingering.add(id)
    const lease = await bench.leaderLease()
    await markReplicaDraining(bench.database.db, lease, id)
    // Its replacement takes longer to start than it would take to stop.
    await vi.waitFor(() => {
      expect(served(revision)).toHaveLength(1)
      expect(served(revision)[0]?.id).not.toBe(id)
    }, patient)
    expect((await rows()).map((row) => row.id)).toContain(id)
    router.lingering.clear()
    await vi.waitFor(async () => expect((await rows()).map((row) => row.id)).not.toContain(id), patient)
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

describe('without Postgres', () => {
  let way: CuttableDatabase
  beforeEach(async () => {
    way = await cuttableDatabase(bench.database.url, bench.folder)
  })
  afterEach(() => way.cut())

  test('a frozen replica wakes, and its row follows when the database is back', async () => {
    const { revision } = await coldService({
      idle: { freezeAfterSeconds: 1, parkAfterSeconds: 'never', coldAfterSeconds: 'never' },
    })
    await start(way.url)
    await vi.waitFor(() => expect(router.revision(revision)).toBeDefined(), patient)
    router.load(revision, { queued: 1, inFlight: 0 })
    await vi.waitFor(() => expect(served(revision)).toHaveLength(1), patient)
    router.load(revision, null)
    router.idleMs = 60_000
    await vi.waitFor(async () => expect(await rows()).toMatchObject([{ rung: 'frozen' }]), patient)
    await way.cut()
    router.idleMs = 0
    router.load(revision, { queued: 1, inFlight: 0 })
    await vi.waitFor(() => expect(served(revision)).toHaveLength(1), patient)
    await vi.waitFor(() => expect(apps()[0]?.status).toBe('running'), patient)
    expect(await get(served(revision)[0]?.port ?? 0)).toBe(200)
    expect(await rows()).toMatchObject([{ rung: 'frozen' }])
    await way.mend()
    await vi.waitFor(async () => expect(await rows()).toMatchObject([{ rung: 'running' }]), patient)
  })

  test('a cold revision says that nothing can be reserved', async () => {
    const { revision } = await coldService()
    await start(way.url)
    await vi.waitFor(() => expect(router.revision(revision)).toBeDefined(), patient)
    const nodes = async () => (await readWorld(bench.database.db)).nodes
    await vi.waitFor(async () => expect(await nodes()).toMatchObject([{ reachability: 'ready' }]), patient)
    await way.cut()
    router.load(revision, { queued: 1, inFlight: 0 })
    await vi.waitFor(
      () => expect(router.revision(revision)?.blocked?.message).toMatch(/without the database/),
      patient,
    )
    await way.mend()
    await vi.waitFor(() => expect(served(revision)).toHaveLength(1), patient)
  })
})
