import type { ProbeTemplate } from '@berth/contracts'
import { desired } from '@berth/db'
import type { FakeEngine } from '@berth/engine/testing'
import { afterEach, beforeEach, describe, expect, inject, test, vi } from 'vitest'
import { appsOn, patient, startWorkerBench, type WorkerBench } from './testing/worker-bench.ts'

const everySecond: ProbeTemplate = {
  check: { kind: 'httpGet', path: '/healthz', headers: [] },
  initialDelaySeconds: 0,
  periodSeconds: 1,
  timeoutSeconds: 1,
  successThreshold: 1,
  failureThreshold: 2,
}

let bench: WorkerBench
let engine: FakeEngine
/** What every app answers to its probes, and which containers were asked. */
let app: { status: number; asked: string[] }

beforeEach(async () => {
  bench = await startWorkerBench({ postgresUrl: inject('postgresUrl'), redisUrl: inject('redisUrl') })
  app = { status: 200, asked: [] }
  engine = await bench.startEngine(() => ({
    handle(_request, response, { id }) {
      app.asked.push(id)
      response.writeHead(app.status).end()
    },
  }))
  await bench.insertNode('n1', engine)
})
afterEach(() => bench.stop())

/** A service with one replica that serves. */
async function servingService(change: Parameters<WorkerBench['coldService']>[0]): Promise<string> {
  const { revision } = await bench.coldService({ minScale: 1, maxScale: 1, ...change })
  await bench.startWorker()
  await vi.waitFor(() => expect(bench.served(revision)).toHaveLength(1), patient)
  return revision
}

/** The replica as its row has it, without what a test does not look at. */
async function onlyReplica() {
  const rows = await bench.rows()
  expect(rows).toHaveLength(1)
  return rows[0]
}

describe('a replica whose readiness probe fails', () => {
  const probes = { readinessProbe: everySecond }

  test('takes no requests until it succeeds again, and is the same replica then', async () => {
    const revision = await servingService({ probes })
    const before = await onlyReplica()
    app.status = 503
    await vi.waitFor(() => expect(bench.served(revision)).toEqual([]), patient)
    await vi.waitFor(async () => {
      expect(await onlyReplica()).toMatchObject({
        id: before?.id,
        state: 'ready',
        reason: 'ProbeFailed',
        message: 'GET /healthz: status 503',
      })
    }, patient)
    expect(bench.router.revision(revision)).toMatchObject({ blocked: null, lateBecause: 'ProbeFailed' })
    app.status = 200
    await vi.waitFor(() => expect(bench.served(revision)).toMatchObject([{ id: before?.id }]), patient)
    await vi.waitFor(async () => {
      expect(await onlyReplica()).toMatchObject({ restarts: 0, reason: null, message: null })
    }, patient)
  })

  test('is the reason of its revision while nobody else serves', async () => {
    const revision = await servingService({ probes })
    const failure = async () => {
      const { rows } = await bench.database.db.execute(
        `select failure from revisions where uid = '${revision}'`,
      )
      return rows[0]?.['failure']
    }
    app.status = 500
    await vi.waitFor(async () => expect(await failure()).toMatchObject({ reason: 'ProbeFailed' }), patient)
    app.status = 200
    await vi.waitFor(async () => expect(await failure()).toBeNull(), patient)
  })

  test('is not routed by a new leader before it succeeds', async () => {
    const revision = await servingService({ probes })
    app.status = 503
    await vi.waitFor(async () => expect((await onlyReplica())?.reason).toBe('ProbeFailed'), patient)
    await bench.stopWorkers()
    const asked = app.asked.length
    await bench.startWorker()
    await vi.waitFor(() => expect(bench.router.epochs).toHaveLength(2), patient)
    await vi.waitFor(() => expect(app.asked.length).toBeGreaterThan(asked + 1), patient)
    expect(bench.served(revision)).toEqual([])
    app.status = 200
    await vi.waitFor(() => expect(bench.served(revision)).toHaveLength(1), patient)
  })
})

describe('an app whose liveness probe fails', () => {
  test('is stopped and started again in its sandbox, and says so meanwhile', async () => {
    const revision = await servingService({ probes: { livenessProbe: everySecond } })
    const before = await onlyReplica()
    const [container] = appsOn(engine)
    const startedAt = container?.startedAt
    app.status = 500
    await vi.waitFor(async () => {
      expect(await onlyReplica()).toMatchObject({
        state: 'starting',
        restarts: 1,
        reason: 'LivenessFailed',
        message: 'its liveness probe fails: GET /healthz: status 500',
      })
    }, patient)
    app.status = 200
    await vi.waitFor(() => expect(bench.served(revision)).toMatchObject([{ id: before?.id }]), patient)
    await vi.waitFor(async () => {
      expect(await onlyReplica()).toMatchObject({ state: 'ready', reason: null, restarts: 1 })
    }, patient)
    expect((await onlyReplica())?.containers).toEqual(before?.containers)
    expect(
      await desired.listServiceEvents(bench.database.db, before?.serviceUid ?? '', { limit: 10 }),
    ).toMatchObject([
      { kind: 'ReplicaRestarted', reason: 'LivenessFailed', node: 'n1', replicaId: before?.id, count: 1 },
    ])
    expect(appsOn(engine)[0]?.startedAt).not.toEqual(startedAt)
  })

  test('three times is replaced on another node', async () => {
    const livenessProbe = { ...everySecond, failureThreshold: 1 }
    const revision = await servingService({ probes: { livenessProbe } })
    await bench.insertNode('n2', await bench.startEngine(), 'down', '127.0.0.2')
    await bench.nodesReady('n1', 'n2')
    app.status = 500
    await vi.waitFor(() => expect(bench.served(revision)).toMatchObject([{ node: 'n2' }]), patient)
    expect(await bench.rows()).toContainEqual(
      expect.objectContaining({ state: 'failed', reason: 'LivenessFailed', restarts: 2 }),
    )
    await vi.waitFor(() => expect(appsOn(engine)).toEqual([]), patient)
  })
})

test('an app that is frozen is not asked, whatever time passes', async () => {
  const probes = { readinessProbe: everySecond, livenessProbe: everySecond }
  const idle = { freezeAfterSeconds: 1, parkAfterSeconds: 'never', coldAfterSeconds: 'never' } as const
  const sleepy = await bench.coldService({ probes, idle })
  const awake = await bench.coldService({ probes, minScale: 1, maxScale: 1 })
  await bench.startWorker()
  await vi.waitFor(() => expect(bench.served(awake.revision)).toHaveLength(1), patient)
  bench.router.load(sleepy.revision, { queued: 1, inFlight: 0 })
  await vi.waitFor(() => expect(bench.served(sleepy.revision)).toHaveLength(1), patient)
  bench.router.load(sleepy.revision, null)
  bench.router.idleMs = 60_000
  const isPaused = ({ status }: { status: string }) => status === 'paused'
  await vi.waitFor(() => expect(appsOn(engine).some(isPaused)).toBe(true), patient)
  const frozen = appsOn(engine).find(isPaused)?.id
  const timesAsked = (isFrozen: boolean) => app.asked.filter((id) => (id === frozen) === isFrozen).length
  const before = [timesAsked(true), timesAsked(false)] as const
  await vi.waitFor(() => expect(timesAsked(false)).toBeGreaterThan(before[1] + 8), patient)

  // Whatever was asked of a paused app is answered when it goes on.
  bench.router.idleMs = 0
  bench.router.load(sleepy.revision, { queued: 1, inFlight: 0 })
  await vi.waitFor(() => expect(bench.served(sleepy.revision)).toHaveLength(1), patient)
  expect(timesAsked(true) - before[0]).toBeLessThanOrEqual(2)
  expect((await bench.rows()).map(({ restarts, reason }) => ({ restarts, reason }))).toEqual([
    { restarts: 0, reason: null },
    { restarts: 0, reason: null },
  ])
})
