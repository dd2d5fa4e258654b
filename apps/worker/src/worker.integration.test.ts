import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { request } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { IdleSettings, RevisionUid, ServiceUid } from '@berth/contracts'
import { markReplicaDraining, readWorld, reserveReplica, type WorldReplica } from '@berth/db'
import {
  buildTemplate,
  createTestDatabase,
  insertNode,
  insertRevision,
  insertService,
  type TestDatabase,
} from '@berth/db/testing'
import { berthLabels, localImageName } from '@berth/engine'
import { startFakeEngine, type FakeEngine } from '@berth/engine/testing'
import { pino } from 'pino'
import { afterEach, beforeEach, describe, expect, inject, test, vi } from 'vitest'
import { cuttableDatabase, type CuttableDatabase } from './leader/testing/cuttable-database.ts'
import { standInRouter, type StandInRouter } from './leader/testing/stand-in-router.ts'
import { startWorker, type Worker } from './worker.ts'

const log = pino({ level: process.env['BERTH_TEST_LOG'] ?? 'silent' })
const patient = { timeout: 30_000, interval: 25 }
const digest = `sha256:${'a'.repeat(64)}`
const never: IdleSettings = {
  freezeAfterSeconds: 'never',
  parkAfterSeconds: 'never',
  coldAfterSeconds: 'never',
}

let database: TestDatabase
let engine: FakeEngine
let folder: string
let router: StandInRouter
let installation: string
const workers: Worker[] = []

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'wrk-'))
  installation = folder
    .slice(-6)
    .toLowerCase()
    .replaceAll(/[^a-z0-9]/g, '0')
  await writeFile(join(folder, 'key'), Buffer.alloc(32, 7).toString('base64'), { mode: 0o600 })
  await writeFile(join(folder, 'busybox'), 'not really busybox')
  database = await createTestDatabase(inject('postgresUrl'))
  engine = await startFakeEngine()
  engine.addImage(localImageName('app', digest))
  router = standInRouter(join(folder, 'hub.sock'))
})

afterEach(async () => {
  for (const worker of workers.splice(0)) await worker.close()
  router.close()
  await engine.stop()
  await database.drop()
  await rm(folder, { recursive: true, force: true })
})

async function start(databaseUrl = database.url): Promise<Worker> {
  const worker = await startWorker(
    {
      databaseUrl,
      redisUrl: inject('redisUrl'),
      installation,
      masterKeyFile: join(folder, 'key'),
      adminPort: 0,
      registryPort: 1,
      networkCidr: '198.18.0.0/16',
      hubSocket: join(folder, 'hub.sock'),
      controlSocket: join(folder, 'control.sock'),
      busybox: join(folder, 'busybox'),
      domain: 'localhost',
      allowedRegistries: [],
      logLevel: 'silent',
    },
    log,
  )
  workers.push(worker)
  return worker
}

function endpoint(): string {
  if (engine.endpoint.kind !== 'unix') throw new Error('the fake engine listens on a unix socket')
  return `unix://${engine.endpoint.path}`
}

/** A service whose only revision has all the traffic and no replica. */
async function coldService(
  change: { concurrency?: number; maxScale?: number; minScale?: number; idle?: IdleSettings } = {},
): Promise<{ service: ServiceUid; revision: RevisionUid }> {
  const { concurrency = 1, ...rest } = change
  await insertNode(database.db, { name: 'n1', endpoint: endpoint() }, { reachability: 'down' })
  const service = await insertService(database.db, {
    template: buildTemplate({ concurrency }),
    idle: never,
    ...rest,
  })
  const revision = await insertRevision(database.db, {
    serviceUid: service.uid,
    imageDigest: digest,
    readyAt: new Date(),
  })
  await database.db.execute(
    `update service_status set observed_generation = 1, latest_ready_revision = '${revision.name}',
     traffic = '[{"revision": "${revision.name}", "percent": 100, "tag": null}]'`,
  )
  return { service: service.uid, revision: revision.uid }
}

async function rows(): Promise<WorldReplica[]> {
  return (await readWorld(database.db)).replicas
}

function served(revision: string) {
  return router.revision(revision)?.replicas ?? []
}

function apps() {
  return engine.containers().filter(({ body }) => body.Labels[berthLabels.role] === 'app')
}

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
    await database.db.execute(`update nodes set capacity = '{"cpuMillis": 1000, "memoryBytes": 1000}'`)
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
    await database.db.execute(`update services set idle = '${parked}' where uid = '${service}'`)
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
    const lease = await leaderLease()
    await markReplicaDraining(database.db, lease, id)
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

async function leaderLease() {
  const { rows } = await database.db.execute(`select holder, epoch from leases where name = 'leader'`)
  const { holder, epoch } = rows[0] as { holder: string; epoch: string }
  return { name: 'leader', holder, epoch: Number(epoch) }
}

describe('another worker', () => {
  test('takes over what runs and what is starting, under a new epoch', async () => {
    const { service, revision } = await coldService({ minScale: 1 })
    const first = await start()
    await vi.waitFor(() => expect(served(revision)).toHaveLength(1), patient)
    const lease = await leaderLease()
    engine.hang('POST /containers/*/start', { times: 1 })
    const reserved = await reserveReplica(database.db, lease, {
      serviceUid: service,
      revisionUid: revision,
      nodeUid: (await readWorld(database.db)).nodes[0]?.uid ?? '',
      deploymentId: null,
      cpuMillis: 100,
      memoryBytes: 1024,
      maxReplicas: 20,
    })
    expect(reserved.kind).toBe('reserved')
    await first.close()
    workers.splice(0)
    engine.release()
    await start()
    await vi.waitFor(() => expect(served(revision)).toHaveLength(2), patient)
    expect(new Set(router.epochs).size).toBe(2)
    expect(apps()).toHaveLength(2)
  })
})

describe('without Postgres', () => {
  let way: CuttableDatabase
  beforeEach(async () => {
    way = await cuttableDatabase(database.url, folder)
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
    const nodes = async () => (await readWorld(database.db)).nodes
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
