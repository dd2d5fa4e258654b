import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, rm, utimes, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { pino } from 'pino'
import { afterEach, beforeEach, expect, test } from 'vitest'
import type { RouteSnapshot } from '@berth/contracts'
import { parseConfig } from './config.ts'
import { startRouter } from './router.ts'
import { createTableStore } from './routes/table-store.ts'
import { ask, eventually, startApp, startEdge, type App } from './testing/edge.ts'
import { aReplica, aRevision, aSnapshot, testInstallation } from './testing/routes.ts'

const keepTables = fileURLToPath(new URL('testing/keep-tables.ts', import.meta.url))
let folder: string
let file: string
let before: App
let now: App
const endings: (() => Promise<unknown>)[] = []

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'br-'))
  file = join(folder, 'routes.json')
  before = await startApp((_request, response) => response.end('as it was'))
  now = await startApp((_request, response) => response.end('as it is'))
})
afterEach(async () => {
  for (const ending of endings.splice(0)) await ending()
  await Promise.all([before.close(), now.close(), rm(folder, { recursive: true, force: true })])
})

const leadingTo = ({ port }: App) => [aRevision({ replicas: [aReplica('r1', port)] })]

async function keep(changes: Partial<RouteSnapshot>, minutesAgo: number): Promise<void> {
  await writeFile(file, JSON.stringify(aSnapshot({ revisions: leadingTo(before), ...changes })))
  const written = new Date(Date.now() - minutesAgo * 60_000)
  await utimes(file, written, written)
}

async function led() {
  const table = { version: { epoch: 1, sequence: 2 }, revisions: leadingTo(now) }
  const edge = await startEdge(table, { BERTH_ROUTE_TABLE_FILE: file })
  endings.push(() => edge.close())
  return edge
}

/** A router without any way to a leader; resolves with its port. */
async function alone(): Promise<number> {
  const config = parseConfig({
    BERTH_INSTALLATION: testInstallation,
    BERTH_ROUTE_TABLE_FILE: file,
    BERTH_EDGE_PORT: '0',
    BERTH_ROUTER_ADMIN_PORT: '0',
    BERTH_ROUTER_DRAIN_SECONDS: '0',
  })
  const router = await startRouter(config, pino({ level: 'silent' }))
  endings.push(() => router.stop())
  return router.edgePorts[0] ?? 0
}

test('a fresh table is served before the leader is heard', async () => {
  await keep({}, 9)
  const { leader } = await led()
  const hello = await eventually(() => leader.last('hello'))
  expect(hello.version).toEqual({ epoch: 1, sequence: 1 })
})

test('a table older than the rest of a host port waits for the leader', async () => {
  await keep({}, 11)
  const { leader, port } = await led()
  expect((await ask({ port })).body).toBe('as it is')
  expect(leader.last('hello')?.version).toBeUndefined()
})

test('without a leader an old table is better than none', async () => {
  await keep({}, 60)
  expect((await ask({ port: await alone() })).body).toBe('as it was')
})

test('a table of another installation is not served, however fresh', async () => {
  await keep({ installation: 'other' }, 0)
  expect((await ask({ port: await alone() })).status).toBe(503)
})

test('a router that is killed at any time while it keeps a table leaves a whole one', async () => {
  for (let kill = 0; kill < 5; kill += 1) {
    const keeping = spawn(process.execPath, [keepTables, file], { stdio: ['ignore', 'pipe', 'inherit'] })
    await once(keeping.stdout, 'data')
    await new Promise((resolve) => {
      setTimeout(resolve, kill * 23)
    })
    keeping.kill('SIGKILL')
    await once(keeping, 'exit')
    const kept = await createTableStore(file, pino({ level: 'silent' })).load()
    expect(kept?.snapshot.revisions).toHaveLength(20_000)
  }
})
