import type { FakeEngine } from '@berth/engine/testing'
import { describe, expect, inject, test, vi, type TestContext } from 'vitest'
import { patient, startWorkerBench, type WorkerBench } from './testing/worker-bench.ts'

/** Most of their time is waiting for deadlines of the real product, so they wait side by side. */
async function openBench({
  onTestFinished,
}: TestContext): Promise<{ bench: WorkerBench; engine: FakeEngine }> {
  const bench = await startWorkerBench({ postgresUrl: inject('postgresUrl'), redisUrl: inject('redisUrl') })
  onTestFinished(() => bench.stop())
  return { bench, engine: await bench.startEngine() }
}

describe.concurrent('a node', () => {
  test('that hangs in the middle of a start is given up, and the replica starts elsewhere', async (context) => {
    const { bench, engine } = await openBench(context)
    const other = await bench.startEngine()
    await bench.insertNode('n1', engine)
    await bench.insertNode('n2', other, 'down', '127.0.0.2')
    await bench.startWorker()
    await bench.nodesReady('n1', 'n2')
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

  test('that is down is named to routers with what was sent there, and no more once it is back', async (context) => {
    const { bench, engine } = await openBench(context)
    await bench.insertNode('n1', engine)
    await bench.startWorker()
    await bench.nodesReady('n1')
    const { revision } = await bench.coldService({ minScale: 1 })
    await vi.waitFor(() => expect(bench.served(revision)).toHaveLength(1), patient)
    const [{ id } = { id: '' }] = bench.served(revision)
    engine.fail('GET /_ping', { status: 500, message: 'on fire' })
    await vi.waitFor(
      () => expect(bench.router.revision(revision)).toMatchObject({ replicas: [], lost: [id] }),
      patient,
    )
    engine.release()
    await vi.waitFor(() => expect(bench.served(revision)).toMatchObject([{ id }]), patient)
    expect(bench.router.revision(revision)).not.toHaveProperty('lost')
  })

  test('that is back gives no traffic to a replica that did not outlive its absence', async (context) => {
    const { bench, engine } = await openBench(context)
    await bench.insertNode('n1', engine)
    await bench.startWorker()
    await bench.nodesReady('n1')
    const { revision } = await bench.coldService({ minScale: 1 })
    await vi.waitFor(() => expect(bench.served(revision)).toHaveLength(1), patient)
    const first = bench.served(revision)[0]?.id
    engine.fail('GET /_ping', { status: 500, message: 'on fire' })
    await vi.waitFor(() => expect(bench.served(revision)).toEqual([]), patient)
    for (const container of engine.containers()) engine.state.remove(container)
    let servedAgain = false
    const sampling = setInterval(
      () => (servedAgain ||= bench.served(revision).some(({ id }) => id === first)),
      2,
    )
    engine.release()
    // Long enough to see what is routed before the engine has said what it holds.
    engine.delay('GET /containers/json', { ms: 300 })
    await vi.waitFor(() => expect(bench.served(revision)).toHaveLength(1), patient)
    clearInterval(sampling)
    expect(bench.served(revision)[0]?.id).not.toBe(first)
    expect(servedAgain).toBe(false)
  })

  test('that is lost together with most others says that nothing is rescheduled, and so does the service', async (context) => {
    const { bench, engine } = await openBench(context)
    const others = [await bench.startEngine(), await bench.startEngine()]
    await bench.insertNode('n1', engine)
    await bench.insertNode('n2', others[0] ?? engine, 'down', '127.0.0.2')
    await bench.insertNode('n3', others[1] ?? engine, 'down', '127.0.0.3')
    await bench.startWorker()
    await bench.nodesReady('n1', 'n2', 'n3')
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
    await bench.nodesReady('n1', 'n2', 'n3')
    await vi.waitFor(async () => {
      const { rows } = await bench.database.db.execute(
        'select conditions, message from service_status, node_status',
      )
      const serving = { conditions: [{ status: 'True', reason: 'Serving' }], message: null }
      expect(rows).toMatchObject([serving, serving, serving])
    }, patient)
  })
})
