import { redisKeys } from '@berth/contracts'
import { Keyring, schema } from '@berth/db'
import { insertNode } from '@berth/db/testing'
import type { FakeAppBehaviour } from '@berth/engine/testing'
import { Redis } from 'ioredis'
import { afterEach, beforeEach, expect, inject, test, vi } from 'vitest'
import { appsOn, endpointOf, startWorkerBench, type WorkerBench } from './testing/worker-bench.ts'

const patient = { timeout: 60_000, interval: 50 }
const canary = 'canary-7f3a-of-the-app'
const line = `cannot connect with ${canary}`

let bench: WorkerBench
let redis: Redis
/** Everything that was published to routers through Redis. */
const published: string[] = []

beforeEach(async () => {
  bench = await startWorkerBench({ postgresUrl: inject('postgresUrl'), redisUrl: inject('redisUrl') })
  redis = new Redis(inject('redisUrl'))
  published.length = 0
  const listener = redis.duplicate()
  listener.on('message', (_channel, text) => published.push(text))
  await listener.subscribe(redisKeys(bench.installation).leaderFrames)
})
afterEach(async () => {
  redis.disconnect()
  await bench.stop()
})

async function serviceOf(app: () => FakeAppBehaviour) {
  const engine = await bench.startEngine(app)
  await insertNode(bench.database.db, { name: 'n1', endpoint: endpointOf(engine) }, { reachability: 'down' })
  const made = await bench.coldService({ minScale: 1 })
  const env = new Keyring(Buffer.alloc(32, 7)).seal(
    JSON.stringify({ PASSWORD: canary }),
    `revision:${made.revision}:env`,
  )
  await bench.database.db.update(schema.revisions).set({ env })
  return { ...made, engine }
}

/** Every row of every table as text. */
async function everyRow(): Promise<string> {
  const { rows: tables } = await bench.database.db.execute(
    `select tablename from pg_tables where schemaname = 'public'`,
  )
  const rows = await Promise.all(
    tables.map(async ({ tablename }) =>
      bench.database.db.execute(`select row_to_json(t)::text as row from "${String(tablename)}" t`),
    ),
  )
  return rows.flatMap((table) => table.rows.map(({ row }) => String(row))).join('\n')
}

async function everyKey(): Promise<string> {
  const keys = await redis.keys(`*${bench.installation}*`)
  const values = await Promise.all(
    keys.map(async (key) => {
      const type = await redis.type(key)
      if (type === 'hash') return JSON.stringify(await redis.hgetall(key))
      return type === 'string' ? await redis.get(key) : ''
    }),
  )
  return [...keys, ...values].join('\n')
}

async function messages(): Promise<string[]> {
  const { rows } = await bench.database.db.execute('select message from replicas where message is not null')
  return rows.map(({ message }) => String(message))
}

async function expectNoTrace(): Promise<void> {
  expect(await everyRow()).not.toContain(canary)
  expect(await everyKey()).not.toContain(canary)
  expect(published.join('\n')).not.toContain(canary)
}

test('what an app prints while it fails to start reaches its owner without values, and nobody else', async () => {
  const { revision } = await serviceOf(() => ({
    listenAfterMs: 'never',
    exitAfterMs: 10,
    exitCode: 1,
    prints: [line],
  }))
  await bench.startWorker()
  const told = { reason: 'AppCrashed', message: 'The app ended while it was starting or serving.' }
  await vi.waitFor(() => expect(bench.router.revision(revision)?.blocked).toEqual(told), patient)
  await vi.waitFor(async () => {
    const { rows } = await bench.database.db.execute('select conditions from service_status')
    expect(JSON.stringify(rows)).toContain('cannot connect with ***')
  }, patient)
  expect((await messages()).join()).toContain('cannot connect with ***')
  expect(published.join('\n')).not.toContain('cannot connect')
  await expectNoTrace()
})

test('what an app printed before it crashed while it served is kept without values', async () => {
  const { revision, engine } = await serviceOf(() => ({ prints: [line] }))
  await bench.startWorker()
  await vi.waitFor(() => expect(bench.served(revision)).toHaveLength(1), patient)
  engine.hang('POST /containers/*/start')
  engine.exit(appsOn(engine)[0]?.name ?? '', { exitCode: 1 })
  await vi.waitFor(
    async () => expect((await messages()).join()).toContain('cannot connect with ***'),
    patient,
  )
  await expectNoTrace()
})
