import { once } from 'node:events'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, expect, test } from 'vitest'
import { ask, startApp } from './testing/edge.ts'
import { bindSocket, startRouterProcess, untilRouterReady } from './testing/router-process.ts'
import { aReplica, aRevision, aSnapshot } from './testing/routes.ts'

const endings: (() => unknown)[] = []
afterEach(async () => {
  for (const ending of endings.splice(0).reverse()) await ending()
})

test('a router whose log nobody reads serves on, says what it has dropped, and ends when it is told to', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'br-'))
  endings.push(() => rm(folder, { recursive: true, force: true }))
  const app = await startApp((_request, response) => response.end('ok'))
  endings.push(() => app.close())
  const tableFile = join(folder, 'routes.json')
  const revisions = [aRevision({ replicas: [aReplica('r1', app.port)] })]
  await writeFile(tableFile, JSON.stringify(aSnapshot({ revisions })))
  const edge = bindSocket()
  const admin = bindSocket()
  endings.push(
    () => edge.close(),
    () => admin.close(),
  )
  const router = startRouterProcess({ edge, admin, hubSocket: join(folder, 'nobody'), tableFile, logs: true })
  endings.push(() => router.kill('SIGKILL'))
  await untilRouterReady(router, admin)

  // Of 8 KB each: 6.4 MB, of which the router keeps 4 MiB and the pipe less than one.
  const path = `/${'a'.repeat(8000)}`
  const statuses = new Set<number>()
  for (let round = 0; round < 40; round += 1) {
    const answers = await Promise.all(Array.from({ length: 20 }, () => ask({ port: edge.port, path })))
    for (const { status } of answers) statuses.add(status)
  }
  expect([...statuses]).toEqual([200])
  const { body } = await ask({ port: admin.port, path: '/metrics' })
  const dropped = /^berth_router_log_lines_dropped_total ([0-9]+)$/m.exec(body)?.[1]
  expect(Number(dropped)).toBeGreaterThan(0)
  expect(Number(dropped)).toBeLessThan(500)

  router.kill('SIGTERM')
  await once(router, 'exit')
})
