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

/** Its app ends; resolves when the row has counted that. */
async function appEnds(restarts: number): Promise<void> {
  await vi.waitFor(async () => expect(await bench.rows()).toMatchObject([{ state: 'ready' }]), patient)
  engine.exit(appsOn(engine)[0]?.name ?? '', { exitCode: 3 })
  await vi.waitFor(async () => expect(await bench.rows()).toMatchObject([{ restarts }]), patient)
}

test('an app that ends three times under three leaders goes to another node', async () => {
  const { revision } = await bench.coldService({ minScale: 1, maxScale: 1 })
  await bench.startWorker()
  await appEnds(1)
  await leaderChanges()
  await appEnds(2)
  await bench.insertNode('n2', await bench.startEngine(), 'down', '127.0.0.2')
  await leaderChanges()
  await bench.nodesReady('n1', 'n2')
  await vi.waitFor(() => expect(bench.served(revision)).toMatchObject([{ node: 'n1' }]), patient)
  engine.exit(appsOn(engine)[0]?.name ?? '', { exitCode: 3 })
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
