import { readWorld } from '@berth/db'
import { berthLabels, connectEngine } from '@berth/engine'
import { heldFence, type FakeEngine } from '@berth/engine/testing'
import { afterEach, beforeEach, describe, expect, inject, test, vi } from 'vitest'
import { appsOn, endpointOf, patient, startWorkerBench, type WorkerBench } from './testing/worker-bench.ts'

let bench: WorkerBench
let engine: FakeEngine
beforeEach(async () => {
  bench = await startWorkerBench({ postgresUrl: inject('postgresUrl'), redisUrl: inject('redisUrl') })
  engine = await bench.startEngine()
})
afterEach(() => bench.stop())

/** A container that no row knows. */
async function leaveContainer(on: FakeEngine, name: string, owner = bench.installation): Promise<void> {
  const runtime = connectEngine(on.endpoint)
  const { id } = on.addImage('left')
  const place = { network: 'bridge', hostAddress: '127.0.0.1', hostPort: 0, containerPort: 1 }
  await runtime.createSandbox(
    { name, image: id, labels: { [berthLabels.installation]: owner }, ...place },
    heldFence,
  )
  runtime.close()
}

describe('a node', () => {
  test('that could not be prepared when a leader took over is prepared later', async () => {
    await bench.insertNode('n1', engine, 'ready')
    engine.fail('POST /images/load', { status: 500, message: 'busy', times: 1 })
    const { revision } = await bench.coldService({ minScale: 1 })
    await bench.startWorker()
    await vi.waitFor(() => expect(bench.served(revision)).toHaveLength(1), patient)
  })

  test('whose endpoint is changed is registered anew, and its replicas are brought up there', async () => {
    const { uid } = await bench.insertNode('n1', engine)
    const { revision } = await bench.coldService({ minScale: 1 })
    await bench.startWorker()
    await vi.waitFor(() => expect(bench.served(revision)).toHaveLength(1), patient)
    const first = bench.served(revision)[0]?.id
    const other = await bench.startEngine()
    await bench.database.db.execute(`update nodes set endpoint = '${endpointOf(other)}' where uid = '${uid}'`)
    await vi.waitFor(() => {
      expect(bench.served(revision)).toHaveLength(1)
      expect(bench.served(revision)[0]?.id).not.toBe(first)
    }, patient)
    expect(appsOn(other)).toMatchObject([{ status: 'running' }])
    const { rows } = await bench.database.db.execute(`select engine_id from node_status`)
    expect(rows).toEqual([{ engine_id: 'FAKE:engine-2' }])
  })

  test('that is drained goes on serving until another one does, and ends up empty', async () => {
    const other = await bench.startEngine()
    const { uid } = await bench.insertNode('n1', engine)
    await bench.insertNode('n2', other, 'down', '127.0.0.2')
    await bench.startWorker()
    await bench.nodesReady('n1', 'n2')
    const { revision } = await bench.coldService({ minScale: 1, maxScale: 1 })
    await vi.waitFor(() => expect(bench.served(revision)).toMatchObject([{ node: 'n1' }]), patient)
    let fewest = 1
    const sampling = setInterval(() => (fewest = Math.min(fewest, bench.served(revision).length)), 2)
    await bench.database.db.execute(`update nodes set scheduling = 'draining' where uid = '${uid}'`)
    await vi.waitFor(() => expect(bench.served(revision)).toMatchObject([{ node: 'n2' }]), patient)
    await vi.waitFor(() => expect(engine.containers()).toEqual([]), patient)
    clearInterval(sampling)
    expect(fewest).toBe(1)
    await vi.waitFor(
      async () => expect(await bench.rows()).toMatchObject([{ state: 'ready', rung: 'running' }]),
      patient,
    )
    expect(appsOn(other)).toMatchObject([{ status: 'running' }])
  })

  test('that is drained of an idle replica just lets it go', async () => {
    const other = await bench.startEngine()
    const { uid } = await bench.insertNode('n1', engine)
    await bench.insertNode('n2', other, 'down', '127.0.0.2')
    await bench.startWorker()
    await bench.nodesReady('n1', 'n2')
    const { revision } = await bench.coldService({
      idle: { freezeAfterSeconds: 1, parkAfterSeconds: 'never', coldAfterSeconds: 'never' },
    })
    await vi.waitFor(() => expect(bench.router.revision(revision)).toBeDefined(), patient)
    bench.router.load(revision, { queued: 1, inFlight: 0 })
    await vi.waitFor(() => expect(bench.served(revision)).toMatchObject([{ node: 'n1' }]), patient)
    bench.router.load(revision, null)
    bench.router.idleMs = 60_000
    await vi.waitFor(async () => expect(await bench.rows()).toMatchObject([{ rung: 'frozen' }]), patient)
    await bench.database.db.execute(`update nodes set scheduling = 'draining' where uid = '${uid}'`)
    await vi.waitFor(async () => expect(await bench.rows()).toEqual([]), patient)
    await vi.waitFor(() => expect(engine.containers()).toEqual([]), patient)
    expect(appsOn(other)).toEqual([])
  })

  test('that leaves takes what is on its engine with it', async () => {
    const { uid } = await bench.insertNode('n1', engine)
    await bench.startWorker()
    await bench.nodesReady('n1')
    await leaveContainer(engine, 'berth-left')
    await leaveContainer(engine, 'somebody-else', 'other')
    await bench.database.db.execute(`update nodes set deleted_at = now() where uid = '${uid}'`)
    await vi.waitFor(async () => {
      expect((await readWorld(bench.database.db)).nodes).toEqual([])
    }, patient)
    expect(engine.containers().map(({ name }) => name)).toEqual(['somebody-else'])
  })
})
