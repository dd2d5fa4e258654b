import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { callHttp } from '../../infra/src/http-call.ts'
import { routerAdminPorts } from '../../infra/src/settings.ts'
import { startEngines } from '../support/engines.ts'
import { connectPlatform, startPlatform, type StartedPlatform } from '../support/platform.ts'
import { claimSlot } from '../support/slot.ts'

/* A platform of its own, with one engine and two routers behind one edge. */

let started: StartedPlatform
let platform: ReturnType<typeof connectPlatform>
const stops: (() => Promise<void>)[] = []

beforeAll(async () => {
  const slot = await claimSlot()
  stops.push(() => slot.release())
  const engines = await startEngines(slot, 1)
  stops.push(async () => {
    await Promise.all(engines.map((engine) => engine.stop()))
  })
  const connections = engines.map(({ connection }) => connection)
  started = await startPlatform(slot, connections, { BERTH_ROUTERS: '2' })
  stops.push(started.stop)
  platform = connectPlatform(started.connection)
})

afterAll(async () => {
  for (const stop of stops.toReversed()) await stop()
})

/** How many requests each router has answered. */
function answered(): Promise<number[]> {
  const { ports } = started.connection
  return Promise.all(
    routerAdminPorts({ ports, routers: 2 }).map(async (port) => {
      const { body } = await callHttp({ target: { port }, path: '/metrics', timeoutMs: 5000 })
      const counts = body.matchAll(/^berth_router_requests_total\{.*\} ([0-9]+)$/gm)
      return [...counts].reduce((sum, [, count]) => sum + Number(count), 0)
    }),
  )
}

describe('two routers behind one edge', () => {
  test('never ask an app with concurrency 1 twice at once, in a burst', async () => {
    await platform.deploy('two-burst', { concurrency: 1, maxScale: 10, memory: '96Mi', cpu: 0.5 })
    const answers = await Promise.all(
      Array.from({ length: 100 }, () =>
        platform.request('two-burst', { path: '/sleep?ms=300', timeoutMs: 120_000 }),
      ),
    )
    expect(answers.filter(({ status }) => status !== 200).map((answer) => answer.text())).toEqual([])
    const seen = await Promise.all(
      Array.from({ length: 20 }, () => platform.request('two-burst', { path: '/stats' })),
    )
    expect(Math.max(...seen.map((answer) => answer.json<{ maximum: number }>().maximum))).toBe(1)
    expect(Math.min(...(await answered()))).toBeGreaterThan(0)
  })

  test('follow a deployment together, and one is replaced while the other serves', async () => {
    await platform.restart('router-2')
    await platform.update('two-burst', { env: { AGAIN: '1' } })
    const { status } = await platform.request('two-burst', { path: '/stats' })
    expect(status).toBe(200)
  })
})
