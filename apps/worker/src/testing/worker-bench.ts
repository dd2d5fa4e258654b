import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { request } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type {
  ContainerTemplate,
  IdleSettings,
  RevisionTemplate,
  RevisionUid,
  ServiceUid,
} from '@berth/contracts'
import { leaderLeaseName, readLease, readWorld, type LeaseRef, type WorldReplica } from '@berth/db'
import {
  buildTemplate,
  createTestDatabase,
  insertNode,
  insertRevision,
  insertService,
  type TestDatabase,
} from '@berth/db/testing'
import { berthLabels, localImageName } from '@berth/engine'
import {
  startFakeEngine,
  type FakeAppBehaviour,
  type FakeContainer,
  type FakeEngine,
} from '@berth/engine/testing'
import { pino } from 'pino'
import { expect, vi } from 'vitest'
import { standInRouter, type StandInRouter } from '../leader/testing/stand-in-router.ts'
import { startWorker, type Worker } from '../worker.ts'

/** For `vi.waitFor`: whatever a whole worker does may be slow on a busy machine. */
export const patient = { timeout: 30_000, interval: 25 }

const log = pino({ level: process.env['BERTH_TEST_LOG'] ?? 'silent' })
const digest = `sha256:${'a'.repeat(64)}`

const never: IdleSettings = {
  freezeAfterSeconds: 'never',
  parkAfterSeconds: 'never',
  coldAfterSeconds: 'never',
}

type Probes = Pick<ContainerTemplate, 'readinessProbe' | 'livenessProbe'>
type ColdService = {
  probes?: Probes
  concurrency?: number
  maxScale?: number
  minScale?: number
  idle?: IdleSettings
  template?: Partial<RevisionTemplate>
}

/** Whole workers on a database of their own, with fake engines and one router that does what a test says. */
export type WorkerBench = {
  database: TestDatabase
  /** Where sockets and keys are. */
  folder: string
  installation: string
  router: StandInRouter
  /** Starts an engine that has the image of the services, whose apps behave as `app` says. */
  startEngine(app?: () => FakeAppBehaviour): Promise<FakeEngine>
  startWorker(databaseUrl?: string, redisUrl?: string): Promise<Worker>
  /** Stops the workers that were started so far. */
  stopWorkers(): Promise<void>
  /** A service whose only revision has all the traffic and no replica; without nodes. */
  coldService(change?: ColdService): Promise<{ service: ServiceUid; revision: RevisionUid }>
  /** A node in front of an engine, ready or (by default) still to be registered. */
  insertNode(
    name: string,
    of: FakeEngine,
    reachability?: 'ready' | 'down',
    address?: string,
  ): ReturnType<typeof insertNode>
  /** Waits until exactly these nodes are ready. */
  nodesReady(...names: string[]): Promise<void>
  /** Its replicas in the router's table. */
  served(revision: string): { id: string; port: number; node: string }[]
  rows(): Promise<WorldReplica[]>
  leaderLease(): Promise<LeaseRef>
  stop(): Promise<void>
}

export async function startWorkerBench(stores: {
  postgresUrl: string
  redisUrl: string
}): Promise<WorkerBench> {
  const folder = await mkdtemp(join(tmpdir(), 'wrk-'))
  const suffix = folder.slice(-6).toLowerCase()
  const installation = suffix.replaceAll(/[^a-z0-9]/g, '0')
  await writeFile(join(folder, 'key'), Buffer.alloc(32, 7).toString('base64'), { mode: 0o600 })
  await writeFile(join(folder, 'busybox'), 'not really busybox')
  const database = await createTestDatabase(stores.postgresUrl)
  const { db } = database
  const router = standInRouter(join(folder, 'hub.sock'))
  const engines: FakeEngine[] = []
  const workers: Worker[] = []

  async function stopWorkers(): Promise<void> {
    for (const worker of workers.splice(0)) await worker.close()
  }

  return {
    database,
    folder,
    installation,
    router,
    async startEngine(app) {
      const name = `engine-${engines.length + 1}`
      const engine = await startFakeEngine({ name, ...(app ? { app } : {}) })
      engine.addImage(localImageName('app', digest))
      engines.push(engine)
      return engine
    },
    async startWorker(databaseUrl = database.url, redisUrl = stores.redisUrl) {
      const worker = await startWorker(
        {
          databaseUrl,
          redisUrl,
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
    },
    stopWorkers,
    async coldService({ concurrency = 1, probes = {}, template = {}, ...change } = {}) {
      const built = buildTemplate({ concurrency, ...template })
      const containers = built.containers.map((container) => ({ ...container, ...probes }))
      const service = await insertService(db, {
        template: { ...built, containers },
        idle: never,
        ...change,
      })
      const revision = await insertRevision(db, {
        serviceUid: service.uid,
        imageDigest: digest,
        readyAt: new Date(),
      })
      await db.execute(
        `update service_status set observed_generation = 1, latest_ready_revision = '${revision.name}',
         traffic = '[{"revision": "${revision.name}", "percent": 100, "tag": null}]'
         where service_uid = '${service.uid}'`,
      )
      return { service: service.uid, revision: revision.uid }
    },
    async insertNode(name, of, reachability = 'down', address = '127.0.0.1') {
      const capacity = { cpuMillis: 2000, memoryBytes: 4 * 1024 ** 3 }
      return await insertNode(db, { name, endpoint: endpointOf(of), address, capacity }, { reachability })
    },
    async nodesReady(...names) {
      await vi.waitFor(async () => {
        const ready = (await readWorld(db)).nodes.filter(({ reachability }) => reachability === 'ready')
        expect(new Set(ready.map(({ name }) => name))).toEqual(new Set(names))
      }, patient)
    },
    served: (revision) => router.revision(revision)?.replicas ?? [],
    rows: async () => (await readWorld(db)).replicas,
    async leaderLease() {
      const lease = await readLease(db, leaderLeaseName)
      if (lease === null) throw new Error('nobody leads')
      return lease
    },
    async stop() {
      await stopWorkers()
      router.close()
      for (const engine of engines) await engine.stop()
      await database.drop()
      await rm(folder, { recursive: true, force: true })
    },
  }
}

/** Asks a replica; its status. */
export function statusOf(port: number): Promise<number> {
  return new Promise((resolve, reject) => {
    const asked = request({ host: '127.0.0.1', port, agent: false }, (response) => {
      response.resume()
      resolve(response.statusCode ?? 0)
    })
    asked.once('error', reject)
    asked.end()
  })
}

/** As a node names it. */
export function endpointOf({ endpoint }: FakeEngine): string {
  if (endpoint.kind !== 'unix') throw new Error('a fake engine listens on a unix socket')
  return `unix://${endpoint.path}`
}

export function appsOn(engine: FakeEngine): FakeContainer[] {
  return engine.containers().filter(({ body }) => body.Labels[berthLabels.role] === 'app')
}
