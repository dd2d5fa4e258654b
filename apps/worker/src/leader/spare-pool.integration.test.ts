import { freeSpares, type SpareRow } from '@berth/db'
import { createTestDatabase, type TestDatabase } from '@berth/db/testing'
import { pino } from 'pino'
import { afterAll, afterEach, beforeAll, beforeEach, expect, inject, test } from 'vitest'
import { startReplicaBench, type ReplicaBench } from '../replicas/testing/replica-bench.ts'
import { createNodeLanes, type NodeLanes } from './node-lanes.ts'
import { createSparePool, type SparePool } from './spare-pool.ts'

const minute = 60_000
const log = pino({ level: 'silent' })

let database: TestDatabase
let bench: ReplicaBench
let lanes: NodeLanes
let pool: SparePool
let useful: boolean
let readRows: () => Promise<SpareRow[]>
let clock: number
beforeAll(async () => {
  database = await createTestDatabase(inject('postgresUrl'))
})
afterAll(() => database.drop())
beforeEach(async () => {
  bench = await startReplicaBench(database.db)
  useful = true
  readRows = rows
  clock = 0
  lanes = createNodeLanes('spares', log)
  pool = aPool()
})
afterEach(() => bench.stop())

function aPool(): SparePool {
  return createSparePool({
    deps: bench.deps,
    hostOf: () => bench.host,
    freeSpares: () => readRows(),
    isUseful: () => useful,
    isStarting: () => false,
    lanes,
    log,
    now: () => clock,
  })
}

async function wanted(): Promise<void> {
  const { projectUid, address } = await bench.replica()
  pool.wanted({ node: bench.host.uid, projectUid, project: 'default', containerPort: 8080, address })
}

const rows = () => freeSpares(database.db, bench.host.uid)
const sandboxes = () => bench.engine.containers().map(({ id }) => id)

async function fill(): Promise<void> {
  await pool.fill()
  await lanes.idle()
}

/** A look at the node, one second later, and a round a second after it. */
async function look(): Promise<void> {
  clock += 1_000
  const containers = await bench.host.runtime.list({ installation: bench.deps.installation })
  pool.listed(bench.host.uid, containers, clock)
  clock += 1_000
  await fill()
}

test('two spares are made for what was started, one in each round', async () => {
  await wanted()
  for (const count of [1, 2, 2]) {
    await fill()
    expect(await rows()).toHaveLength(count)
  }
  expect(sandboxes()).toHaveLength(2)
})

test('spares that died are removed and made anew', async () => {
  await wanted()
  await fill()
  await fill()
  await look()
  const before = await rows()
  bench.engine.exit(before[0]?.containerId ?? '')
  bench.engine.state.remove(bench.engine.state.find(before[1]?.containerId ?? ''))
  await look()
  await look()
  const after = await rows()
  expect(after).toHaveLength(2)
  expect(after.map(({ id }) => id)).not.toContain(before[0]?.id)
  expect(after.map(({ id }) => id)).not.toContain(before[1]?.id)
  expect(new Set(sandboxes())).toEqual(new Set(after.map(({ containerId }) => containerId)))
})

test('one that is finished while the rows are read stays', async () => {
  await wanted()
  bench.engine.hang('POST /containers/create')
  await pool.fill()
  await expect.poll(rows).toHaveLength(1)
  const seen = await rows()
  readRows = async () => {
    bench.engine.release()
    await lanes.idle()
    return seen
  }
  await fill()
  expect(await rows()).toMatchObject([{ id: seen[0]?.id }])
  expect(sandboxes()).toHaveLength(1)
})

test('a list that is older than a spare does not call it dead', async () => {
  await wanted()
  pool.listed(bench.host.uid, [], clock)
  clock += 1_000
  await fill()
  await fill()
  const before = await rows()
  await fill()
  expect((await rows()).map(({ id }) => id)).toEqual(before.map(({ id }) => id))
})

test('one that an earlier leader has not finished is removed', async () => {
  const { projectUid } = await bench.replica()
  await bench.deps.rows.reserveSpare({ nodeUid: bench.host.uid, projectUid, containerPort: 8080 })
  await fill()
  expect(await rows()).toEqual([])
})

test('they go when nobody has wanted them for ten minutes', async () => {
  await wanted()
  await fill()
  clock += 9 * minute
  await fill()
  expect(await rows()).not.toEqual([])
  clock += 2 * minute
  await fill()
  expect(await rows()).toEqual([])
  expect(sandboxes()).toEqual([])
})

test('they go at once when nothing could use them any more', async () => {
  await wanted()
  await fill()
  useful = false
  await fill()
  expect(await rows()).toEqual([])
  expect(sandboxes()).toEqual([])
})
