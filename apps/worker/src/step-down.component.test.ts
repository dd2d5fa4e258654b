import type { IdleSettings } from '@berth/contracts'
import { markReplicaDraining } from '@berth/db'
import { describe, expect, inject, test, vi, type TestContext } from 'vitest'
import { appsOn, patient, startWorkerBench, statusOf } from './testing/worker-bench.ts'

/** One node with an engine, a leader, and a router before it. Each waits for seconds, so they wait side by side. */
async function openBench({ onTestFinished }: TestContext) {
  const bench = await startWorkerBench({ postgresUrl: inject('postgresUrl'), redisUrl: inject('redisUrl') })
  onTestFinished(() => bench.stop())
  const engine = await bench.startEngine()
  await bench.insertNode('n1', engine)
  return {
    bench,
    engine,
    router: bench.router,
    rows: () => bench.rows(),
    served: (revision: string) => bench.served(revision),
    apps: () => appsOn(engine),
  }
}

describe.concurrent('the idle ladder', () => {
  test('goes down to frozen, parked and cold, each step withdrawn first', async (context) => {
    const { bench, engine, router, rows, served, apps } = await openBench(context)
    const idle: IdleSettings = { freezeAfterSeconds: 1, parkAfterSeconds: 2, coldAfterSeconds: 3 }
    const { revision } = await bench.coldService({ idle })
    await bench.startWorker()
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
    await vi.waitFor(async () => expect(await rows()).toHaveLength(0), patient)
    expect(apps()).toHaveLength(0)
    // A step may follow the one before at once, so what the engine was told is looked at and not its state.
    const steps = engine.calls.flatMap((call) => /\/(pause|stop)$/.exec(call)?.[1] ?? [])
    expect(steps.slice(0, 2)).toEqual(['pause', 'stop'])
  })

  test('wakes from frozen and from parked', async (context) => {
    const { bench, router, rows, served, apps } = await openBench(context)
    const { service, revision } = await bench.coldService({
      idle: { freezeAfterSeconds: 1, parkAfterSeconds: 'never', coldAfterSeconds: 'never' },
    })
    await bench.startWorker()
    await vi.waitFor(() => expect(router.revision(revision)).toBeDefined(), patient)
    const wake = async () => {
      router.load(revision, { queued: 1, inFlight: 0 })
      await vi.waitFor(() => expect(served(revision)).toHaveLength(1), patient)
      await vi.waitFor(() => expect(apps()[0]?.status).toBe('running'), patient)
      expect(await statusOf(served(revision)[0]?.port ?? 0)).toBe(200)
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

describe.concurrent('a draining replica', () => {
  test('stops when every router has let go of it', async (context) => {
    const { bench, router, rows, served } = await openBench(context)
    const { revision } = await bench.coldService({ minScale: 1 })
    await bench.startWorker()
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
