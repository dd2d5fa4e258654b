import { readWorld } from '@berth/db'
import { insertNode } from '@berth/db/testing'
import { berthLabels, connectEngine } from '@berth/engine'
import { heldFence, type FakeEngine } from '@berth/engine/testing'
import { afterEach, beforeEach, describe, expect, inject, test, vi } from 'vitest'
import { appsOn, endpointOf, startWorkerBench, type WorkerBench } from './testing/worker-bench.ts'

const patient = { timeout: 30_000, interval: 25 }

let bench: WorkerBench
let engine: FakeEngine
beforeEach(async () => {
  bench = await startWorkerBench({ postgresUrl: inject('postgresUrl'), redisUrl: inject('redisUrl') })
  engine = await bench.startEngine()
})
afterEach(() => bench.stop())

async function nodeOf(
  name: string,
  of: FakeEngine,
  reachability: 'ready' | 'down' = 'down',
  address = '127.0.0.1',
) {
  const capacity = { cpuMillis: 2000, memoryBytes: 4 * 1024 ** 3 }
  const about = { name, endpoint: endpointOf(of), address, capacity }
  return await insertNode(bench.database.db, about, { reachability })
}

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

async function waitForNodes(...ready: string[]): Promise<void> {
  await vi.waitFor(async () => {
    const { nodes } = await readWorld(bench.database.db)
    const names = nodes.filter(({ reachability }) => reachability === 'ready').map(({ name }) => name)
    expect(new Set(names)).toEqual(new Set(ready))
  }, patient)
}

describe('a node', () => {
  test('that could not be prepared when a leader took over is prepared later', async () => {
    await nodeOf('n1', engine, 'ready')
    engine.fail('POST /images/load', { status: 500, message: 'busy', times: 1 })
    const { revision } = await bench.coldService({ minScale: 1 })
    await bench.startWorker()
    await vi.waitFor(() => expect(bench.served(revision)).toHaveLength(1), patient)
  })

  test('whose endpoint is changed is registered anew, and its replicas are brought up there', async () => {
    const { uid } = await nodeOf('n1', engine)
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
    const { uid } = await nodeOf('n1', engine)
    await nodeOf('n2', other, 'down', '127.0.0.2')
    await bench.startWorker()
    await waitForNodes('n1', 'n2')
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
    const { uid } = await nodeOf('n1', engine)
    await nodeOf('n2', other, 'down', '127.0.0.2')
    await bench.startWorker()
    await waitForNodes('n1', 'n2')
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
    const { uid } = await nodeOf('n1', engine)
    await bench.startWorker()
    await waitForNodes('n1')
    await leaveContainer(engine, 'berth-left')
    await leaveContainer(engine, 'somebody-else', 'other')
    await bench.database.db.execute(`update nodes set deleted_at = now() where uid = '${uid}'`)
    await vi.waitFor(async () => {
      expect((await readWorld(bench.database.db)).nodes).toEqual([])
    }, patient)
    expect(engine.containers().map(({ name }) => name)).toEqual(['somebody-else'])
  })

  test('that hangs in the middle of a start is given up, and the replica starts elsewhere', async () => {
    const other = await bench.startEngine()
    await nodeOf('n1', engine)
    await nodeOf('n2', other, 'down', '127.0.0.2')
    await bench.startWorker()
    await waitForNodes('n1', 'n2')
    engine.hang('POST /containers/*/start')
    const before = engine.calls.length
    const { revision } = await bench.coldService({ minScale: 1 })
    await vi.waitFor(
      () => expect(engine.calls.slice(before).some((call) => call.endsWith('/start'))).toBe(true),
      patient,
    )
    engine.hang('GET /_ping')
    await vi.waitFor(() => expect(bench.served(revision)).toMatchObject([{ node: 'n2' }]), patient)
  })

  test('that is lost together with most others says that nothing is rescheduled, and so does the service', async () => {
    const others = [await bench.startEngine(), await bench.startEngine()]
    await nodeOf('n1', engine)
    await nodeOf('n2', others[0] ?? engine, 'down', '127.0.0.2')
    await nodeOf('n3', others[1] ?? engine, 'down', '127.0.0.3')
    await bench.startWorker()
    await waitForNodes('n1', 'n2', 'n3')
    for (const lost of [engine, ...others]) lost.fail('GET /_ping', { status: 500, message: 'on fire' })
    const { revision } = await bench.coldService({ minScale: 1 })
    const held = '3 of 3 nodes were lost within 30 s'
    await vi.waitFor(async () => {
      const { rows } = await bench.database.db.execute('select message from node_status')
      expect(new Set(rows.map((row) => String(row['message']).replace(/.*; /, '')))).toEqual(
        new Set([`rescheduling is on hold: ${held}`]),
      )
    }, patient)
    // What was placed before is gone with its node, and nothing takes its place.
    await bench.database.db.execute(`delete from replicas where revision_uid = '${revision}'`)
    await vi.waitFor(async () => {
      const { rows } = await bench.database.db.execute('select conditions from service_status')
      expect(rows).toMatchObject([
        {
          conditions: [{ status: 'False', reason: 'NodeLost', message: `rescheduling is on hold: ${held}` }],
        },
      ])
    }, patient)
    for (const back of [engine, ...others]) back.release()
    await waitForNodes('n1', 'n2', 'n3')
    await vi.waitFor(async () => {
      const { rows } = await bench.database.db.execute(
        'select conditions, message from service_status, node_status',
      )
      const serving = { conditions: [{ status: 'True', reason: 'Serving' }], message: null }
      expect(rows).toMatchObject([serving, serving, serving])
    }, patient)
  })
})
