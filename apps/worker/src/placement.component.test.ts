import type { FakeEngine } from '@berth/engine/testing'
import { describe, expect, inject, test, vi, type TestContext } from 'vitest'
import { patient, startWorkerBench, type WorkerBench } from './testing/worker-bench.ts'

/** Two nodes that are alike, `n2` with the label zone=b. */
async function openBench({
  onTestFinished,
}: TestContext): Promise<{ bench: WorkerBench; engines: [FakeEngine, FakeEngine] }> {
  const bench = await startWorkerBench({ postgresUrl: inject('postgresUrl'), redisUrl: inject('redisUrl') })
  onTestFinished(() => bench.stop())
  const engines: [FakeEngine, FakeEngine] = [await bench.startEngine(), await bench.startEngine()]
  await bench.insertNode('n1', engines[0])
  await bench.insertNode('n2', engines[1], 'down', '127.0.0.2')
  await run(bench, `update nodes set labels = '{"zone": "b"}' where name = 'n2'`)
  return { bench, engines }
}

async function start(bench: WorkerBench): Promise<void> {
  await bench.startWorker()
  await bench.nodesReady('n1', 'n2')
}

const run = (bench: WorkerBench, statement: string) => bench.database.db.execute(statement)

/** Where the replicas of a new service come up. */
async function placesOf(
  bench: WorkerBench,
  change: Parameters<WorkerBench['coldService']>[0] & { minScale: number },
): Promise<string[]> {
  const { revision } = await bench.coldService(change)
  await vi.waitFor(() => expect(bench.served(revision)).toHaveLength(change.minScale), patient)
  return bench
    .served(revision)
    .map(({ node }) => node)
    .toSorted()
}

describe.concurrent('replicas', () => {
  test('spread over the nodes of a pool', async (context) => {
    const { bench } = await openBench(context)
    await start(bench)
    expect(await placesOf(bench, { minScale: 4 })).toEqual(['n1', 'n1', 'n2', 'n2'])
  })

  test('are packed onto one node where the pool says so', async (context) => {
    const { bench } = await openBench(context)
    await run(bench, `update pools set strategy = 'binpack'`)
    await start(bench)
    const places = await placesOf(bench, { minScale: 4 })
    expect(new Set(places).size).toBe(1)
  })

  test('go where the node selector says', async (context) => {
    const { bench } = await openBench(context)
    await start(bench)
    const template = { nodeSelector: { zone: 'b' } }
    expect(await placesOf(bench, { minScale: 2, template })).toEqual(['n2', 'n2'])
  })

  test('stay in their pool', async (context) => {
    const { bench } = await openBench(context)
    await run(bench, `insert into pools (uid, name, strategy) values ('pol-fast', 'fast', 'spread')`)
    await run(bench, `update nodes set pool = 'fast' where name = 'n2'`)
    await start(bench)
    expect(await placesOf(bench, { minScale: 2, template: { pool: 'fast' } })).toEqual(['n2', 'n2'])
    expect(await placesOf(bench, { minScale: 2 })).toEqual(['n1', 'n1'])
  })

  test('stay away from a cordoned node, and come again when it is not', async (context) => {
    const { bench } = await openBench(context)
    await run(bench, `update nodes set scheduling = 'cordoned' where name = 'n1'`)
    await start(bench)
    expect(await placesOf(bench, { minScale: 2 })).toEqual(['n2', 'n2'])
    await run(bench, `update nodes set scheduling = 'active' where name = 'n1'`)
    await vi.waitFor(async () => expect(await placesOf(bench, { minScale: 1 })).toEqual(['n1']), patient)
  })

  test('stay away from a node whose disk is nearly full; those that are there stay', async (context) => {
    const { bench, engines } = await openBench(context)
    await start(bench)
    const { revision } = await bench.coldService({ minScale: 2, maxScale: 2 })
    await vi.waitFor(() => expect(bench.served(revision)).toHaveLength(2), patient)
    await bench.stopWorkers()
    engines[0].state.disk.freeBytes = 0.1 * engines[0].state.disk.totalBytes
    await bench.startWorker()
    await vi.waitFor(async () => {
      const { rows } = await run(
        bench,
        `select n.name from nodes n join node_status s on s.node_uid = n.uid
         where s.disk_free_bytes < 0.15 * s.disk_total_bytes`,
      )
      expect(rows).toEqual([{ name: 'n1' }])
    }, patient)
    expect(await placesOf(bench, { minScale: 2 })).toEqual(['n2', 'n2'])
    expect(
      bench
        .served(revision)
        .map(({ node }) => node)
        .toSorted(),
    ).toEqual(['n1', 'n2'])
  })
})
