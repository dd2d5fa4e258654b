import type { FakeEngine } from '@berth/engine/testing'
import { describe, expect, inject, test, vi, type TestContext } from 'vitest'
import { patient, startWorkerBench, type WorkerBench } from './testing/worker-bench.ts'

/** Two nodes; the engine of `n1` answers its pings all the time, so that it counts as ready whatever else hangs. */
async function openBench({ onTestFinished }: TestContext): Promise<{ bench: WorkerBench; hung: FakeEngine }> {
  const bench = await startWorkerBench({ postgresUrl: inject('postgresUrl'), redisUrl: inject('redisUrl') })
  onTestFinished(() => bench.stop())
  const hung = await bench.startEngine()
  onTestFinished(() => hung.release())
  await bench.insertNode('n1', hung)
  await bench.insertNode('n2', await bench.startEngine(), 'down', '127.0.0.2')
  await bench.startWorker()
  await bench.nodesReady('n1', 'n2')
  return { bench, hung }
}

/** Everything but pings. */
function hang(engine: FakeEngine): void {
  for (const route of [
    'GET /containers/json',
    'GET /networks',
    'GET /info',
    'GET /images/*/json',
    'POST /containers/create',
    'POST /networks/create',
    'POST /containers/*/start',
    'DELETE /containers/*',
    'DELETE /networks/*',
  ])
    engine.hang(route)
}

const nodesOf = (bench: WorkerBench, revision: string) => bench.served(revision).map(({ node }) => node)

describe.concurrent('an engine that hangs', () => {
  test('holds up no start on another node', async (context) => {
    const { bench, hung } = await openBench(context)
    hang(hung)
    await bench.database.db.execute(`update nodes set scheduling = 'cordoned' where name = 'n1'`)
    const { revision } = await bench.coldService({ minScale: 1 })
    await vi.waitFor(() => expect(nodesOf(bench, revision)).toEqual(['n2']), {
      timeout: 10_000,
      interval: 25,
    })
  })

  test('holds up neither spares nor networks elsewhere', async (context) => {
    const { bench, hung } = await openBench(context)
    const { service, revision } = await bench.coldService({ minScale: 2, maxScale: 2 })
    await vi.waitFor(() => expect(nodesOf(bench, revision).toSorted()).toEqual(['n1', 'n2']), patient)
    const sparesOn = async (name: string) => {
      const { rows } = await bench.database.db.execute(
        `select s.id from spare_sandboxes s join nodes n on n.uid = s.node_uid
         where n.name = '${name}' and s.container_id is not null`,
      )
      return rows.map(({ id }) => String(id))
    }
    await vi.waitFor(async () => {
      expect(await sparesOn('n1')).toHaveLength(2)
      expect(await sparesOn('n2')).toHaveLength(2)
    }, patient)
    hang(hung)
    // Everything of the service goes: spares and networks on both nodes, of which one hangs.
    await bench.database.db.execute(`update services set deleted_at = now() where uid = '${service}'`)
    await vi.waitFor(async () => expect(await sparesOn('n2')).toEqual([]), { timeout: 15_000, interval: 25 })
    await vi.waitFor(
      async () => {
        const { rows } = await bench.database.db.execute(
          `select 1 from project_networks p join nodes n on n.uid = p.node_uid where n.name = 'n2'`,
        )
        expect(rows).toEqual([])
      },
      { timeout: 15_000, interval: 25 },
    )
  })
})
