import { newId, type RolloutProgress } from '@berth/contracts'
import { schema } from '@berth/db'
import { insertRevision } from '@berth/db/testing'
import type { FakeAppBehaviour, FakeEngine } from '@berth/engine/testing'
import { afterEach, beforeEach, expect, inject, test, vi } from 'vitest'
import { appsOn, patient, startWorkerBench, type WorkerBench } from './testing/worker-bench.ts'

let bench: WorkerBench
let engine: FakeEngine
/** What every app on the first node does. */
let behaviour: FakeAppBehaviour

beforeEach(async () => {
  bench = await startWorkerBench({ postgresUrl: inject('postgresUrl'), redisUrl: inject('redisUrl') })
  behaviour = {}
  engine = await bench.startEngine(() => behaviour)
  await bench.insertNode('n1', engine)
})
afterEach(() => bench.stop())

async function leaderChanges(): Promise<void> {
  await bench.stopWorkers()
  await bench.startWorker()
}

/** The app of the only replica ends, once that is ready. */
async function appEnds(): Promise<void> {
  await vi.waitFor(async () => expect(await bench.rows()).toMatchObject([{ state: 'ready' }]), patient)
  engine.exit(appsOn(engine)[0]?.name ?? '', { exitCode: 3 })
}

/** The same; resolves when the row has counted that. */
async function appEndsFor(restarts: number): Promise<void> {
  await appEnds()
  await vi.waitFor(async () => expect(await bench.rows()).toMatchObject([{ restarts }]), patient)
}

test('an app that ends three times under three leaders goes to another node', async () => {
  const { revision } = await bench.coldService({ minScale: 1, maxScale: 1 })
  await bench.startWorker()
  await appEndsFor(1)
  await leaderChanges()
  await appEndsFor(2)
  await bench.insertNode('n2', await bench.startEngine(), 'down', '127.0.0.2')
  await leaderChanges()
  await bench.nodesReady('n1', 'n2')
  await vi.waitFor(() => expect(bench.served(revision)).toMatchObject([{ node: 'n1' }]), patient)
  await appEnds()
  await vi.waitFor(() => expect(bench.served(revision)).toMatchObject([{ node: 'n2' }]), patient)
})

test('a revision that has failed to start stays refused under a new leader', async () => {
  behaviour = { exitAfterMs: 1, exitCode: 2, listenAfterMs: 'never' }
  const { revision } = await bench.coldService()
  await bench.startWorker()
  await vi.waitFor(() => expect(bench.router.revision(revision)).toBeDefined(), patient)
  bench.router.load(revision, { queued: 1, inFlight: 0 })
  const failed = async () => (await bench.rows()).filter(({ state }) => state === 'failed').length
  await vi.waitFor(async () => expect(await failed()).toBe(4), patient)
  await leaderChanges()
  await vi.waitFor(() => {
    expect(bench.router.epochs).toHaveLength(2)
    expect(bench.router.revision(revision)?.blocked).toMatchObject({ reason: 'AppCrashed' })
  }, patient)
  // One that begins anew refuses nobody before it has seen three starts fail itself.
  expect(await failed()).toBeLessThan(4 + 3)
})

test('a revision that fails its requests under a new leader is compared with what the one before did under the old one', async () => {
  const { db } = bench.database
  const { service: serviceUid, revision: old } = await bench.coldService()
  await bench.startWorker()
  await vi.waitFor(() => expect(bench.router.revision(old)).toBeDefined(), patient)
  bench.router.load(old, { queued: 0, inFlight: 0, answers: { requests: 5, failed: 0 } })
  const deployment = await aPausedRollout(serviceUid)
  const row = async () => (await db.select().from(schema.deployments)).find(({ id }) => id === deployment.id)
  await vi.waitFor(async () => expect((await row())?.answersBefore).toMatchObject({ failed: 0 }), patient)
  bench.router.load(old, null)
  await leaderChanges()
  bench.router.load(deployment.revision, { queued: 0, inFlight: 0, answers: { requests: 5, failed: 5 } })
  await vi.waitFor(
    async () => expect(await row()).toMatchObject({ phase: 'failed', reason: 'ErrorRate' }),
    patient,
  )
})

test('a revision that crashes under two leaders in its rollout gives its traffic back', async () => {
  const { db } = bench.database
  const { service, revision: old } = await bench.coldService({ maxScale: 1 })
  await bench.startWorker()
  await vi.waitFor(() => expect(bench.router.revision(old)).toBeDefined(), patient)
  const { id, revision } = await aPausedRollout(service)
  bench.router.load(revision, { queued: 1, inFlight: 0 })
  await appEndsFor(1)
  await appEndsFor(2)
  await leaderChanges()
  await appEnds()
  await vi.waitFor(async () => {
    const rows = await db.select().from(schema.deployments)
    const rolledOut = rows.find((row) => row.id === id)
    expect(rolledOut).toMatchObject({ phase: 'failed', reason: 'CrashLoop' })
    expect(rolledOut?.message).toContain('ended three times within 60 s')
  }, patient)
})

/** Half of the traffic has gone over to a second revision, and no more will. */
async function aPausedRollout(serviceUid: string): Promise<{ id: string; revision: string }> {
  const { db } = bench.database
  const service = (await db.select().from(schema.services)).find(({ uid }) => uid === serviceUid)
  if (service === undefined) throw new Error('the service is not there')
  const revision = await insertRevision(db, { serviceUid, number: 2, readyAt: new Date() })
  const at = new Date().toISOString()
  const rollout: RolloutProgress = {
    previous: `${service.name}-00001`,
    percent: 50,
    startedAt: at,
    shiftedAt: at,
    acknowledgedAt: at,
  }
  const id = newId('DeploymentId')
  await db.insert(schema.deployments).values({
    id,
    projectUid: service.projectUid,
    serviceUid,
    serviceName: service.name,
    generation: service.generation,
    trigger: 'update',
    createdBy: 'test',
    revisionUid: revision.uid,
    revisionName: revision.name,
    phase: 'shifting',
    rollout,
    pausedAt: new Date(),
  })
  return { id, revision: revision.uid }
}
