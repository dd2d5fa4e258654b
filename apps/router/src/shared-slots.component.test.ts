import type { ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, rm } from 'node:fs/promises'
import { Agent, request } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { startCountingOrigin, type CountingOrigin } from './testing/counting-origin.ts'
import { eventually } from './testing/edge.ts'
import { startHubProcess, type HubProcess } from './testing/hub-process.ts'
import {
  bindSocket,
  startRouterProcess,
  untilRouterReady,
  type BoundSocket,
} from './testing/router-process.ts'
import { aReplica, aRevision, aSnapshot } from './testing/routes.ts'
import { seeded } from './testing/seeded.ts'

/*
 * Routers in processes of their own with the leader's real hub between them, and apps that count what they have at once.
 */

/** Processes that start on a machine with other work to do. */
const timeout = 240_000

type Door = { edge: BoundSocket; admin: BoundSocket; router: ChildProcess }

let folder: string
let hub: HubProcess
let origins: CountingOrigin[] = []
let doors: Door[] = []
const agents: Agent[] = []

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'br-'))
})

afterEach(async () => {
  for (const agent of agents.splice(0)) agent.destroy()
  for (const { router, edge, admin } of doors.splice(0)) {
    if (router.exitCode === null && router.signalCode === null) router.kill('SIGKILL')
    edge.close()
    admin.close()
  }
  await hub.stop()
  await Promise.all(origins.splice(0).map((origin) => origin.close()))
  await rm(folder, { recursive: true, force: true })
})

/** Two routers in front of so many replicas. */
async function startTwoRouters(
  concurrency: number,
  replicas: number,
  timeoutMs = 60_000,
): Promise<[Door, Door]> {
  const goesOn = concurrency <= 3
  origins = await Promise.all(Array.from({ length: replicas }, () => startCountingOrigin({ goesOn })))
  hub = await startHubProcess(join(folder, 's'), tableOf(concurrency, origins, timeoutMs))
  const first = await openDoor()
  return [first, await openDoor()]
}

function tableOf(concurrency: number, listed: readonly CountingOrigin[], timeoutMs: number, sequence = 1) {
  const replicas = listed.map(({ port }, index) => aReplica(`r${index}`, port))
  const revision = aRevision({ concurrency, timeoutMs, queueDeadlineMs: timeoutMs, replicas })
  return aSnapshot({ version: { epoch: 1, sequence }, revisions: [revision] })
}

async function openDoor(): Promise<Door> {
  const sockets = { edge: bindSocket(), admin: bindSocket() }
  const door = { ...sockets, router: startRouter(sockets) }
  doors.push(door)
  await untilRouterReady(door.router, door.admin)
  return door
}

function startRouter({ edge, admin }: { edge: BoundSocket; admin: BoundSocket }): ChildProcess {
  const tableFile = join(folder, `${edge.port}.json`)
  return startRouterProcess({ edge, admin, hubSocket: join(folder, 's'), tableFile })
}

/** The status of one answer; rejects when there is none. */
function ask(door: Door, agent: Agent, workMs: number, leaveAfterMs?: number): Promise<number> {
  return new Promise((resolve, reject) => {
    const asked = request(
      {
        port: door.edge.port,
        host: '127.0.0.1',
        agent,
        path: leaveAfterMs === undefined ? `/${workMs}` : `/${workMs}?leaves`,
        headers: { host: 'hello.localhost' },
      },
      (answer) => {
        answer.once('error', reject)
        answer.once('end', () => resolve(answer.statusCode ?? 0))
        answer.resume()
      },
    )
    asked.once('error', reject)
    asked.end()
    if (leaveAfterMs !== undefined) setTimeout(() => asked.destroy(), leaveAfterMs)
  })
}

type Tally = { answered: number; failed: unknown[] }

/** So many clients ask one after the other until `until` says so. One of ten requests is left by its client. */
async function load(door: Door, clients: number, seed: number, until: () => boolean): Promise<Tally> {
  const agent = new Agent({ keepAlive: true, maxSockets: clients })
  agents.push(agent)
  const random = seeded(seed)
  const tally: Tally = { answered: 0, failed: [] }
  const client = async () => {
    while (!until()) {
      const leaves = random() < 0.1
      const workMs = Math.ceil(random() * 8)
      const asked = ask(door, agent, workMs, leaves ? random() * 10 : undefined)
      await asked.then(
        (status) => (status === 200 ? (tally.answered += 1) : tally.failed.push(status)),
        (error: unknown) => leaves || tally.failed.push(error),
      )
    }
  }
  await Promise.all(Array.from({ length: clients }, client))
  return tally
}

const peaks = () => origins.map((origin) => origin.peak())
const busy = () => origins.reduce((sum, origin) => sum + origin.inFlight(), 0)
const seen = () => origins.reduce((sum, origin) => sum + origin.seen(), 0)

describe('two routers', () => {
  test.for([
    { concurrency: 1, replicas: 3 },
    { concurrency: 3, replicas: 2 },
    { concurrency: 20, replicas: 2 },
  ])(
    'never send a replica more than $concurrency at once, whoever leaves',
    { timeout },
    async ({ concurrency, replicas }) => {
      const [a, b] = await startTwoRouters(concurrency, replicas)
      const clients = concurrency * replicas + 2
      const enough = () => seen() >= 3000
      const tallies = await Promise.all([load(a, clients, 1, enough), load(b, clients, 2, enough)])
      expect(tallies.map(({ failed }) => failed)).toEqual([[], []])
      expect(Math.max(...peaks())).toBeLessThanOrEqual(concurrency)
      expect(Math.min(...peaks())).toBeGreaterThan(concurrency * 0.6)
      // Both get their part: neither starves while the other is just as busy.
      const answered = tallies.map((tally) => tally.answered)
      expect(Math.min(...answered)).toBeGreaterThan(Math.max(...answered) / 4)
    },
  )
})

describe('a router that is replaced', () => {
  test.for([1, 20])(
    'hands its slots over with concurrency %i, and no request is lost',
    async (concurrency) => {
      const [a, b] = await startTwoRouters(concurrency, 2)
      let over = false
      const loads = [load(a, concurrency + 1, 3, () => over), load(b, concurrency + 1, 4, () => over)]
      for (let swap = 0; swap < 2; swap += 1) {
        const old = a.router
        a.router = startRouter(a)
        await untilRouterReady(a.router, a.admin)
        old.kill('SIGTERM')
        expect(await once(old, 'exit')).toEqual([0, null])
        const before = seen()
        await eventually(() => seen() > before + 300)
      }
      over = true
      const tallies = await Promise.all(loads)
      expect(tallies.map(({ failed }) => failed)).toEqual([[], []])
      expect(Math.max(...peaks())).toBeLessThanOrEqual(concurrency)
    },
  )
})

describe('a leader that stands still while a router is replaced', () => {
  test('gives the new one all that the old one does not use, once it goes on', { timeout }, async () => {
    const [a, b] = await startTwoRouters(4, 2)
    b.router.kill('SIGTERM')
    await once(b.router, 'exit')
    const agent = new Agent()
    const answers = [ask(a, agent, 15_000)]
    await eventually(() => busy() === 1)
    hub.process.kill('SIGSTOP')
    const old = a.router
    a.router = startRouter(a)
    await untilRouterReady(a.router, a.admin)
    old.kill('SIGTERM')
    // Each counts alone now.
    await delay(500)
    answers.push(ask(a, agent, 15_000), ask(a, agent, 15_000))
    await eventually(() => busy() === 3)
    await delay(4000)
    hub.process.kill('SIGCONT')
    await eventually(() => hub.routers().length === 2)
    await delay(200)
    const more = Array.from({ length: 12 }, () => ask(a, agent, 1500))
    await eventually(() => busy() === 8)
    expect(old.exitCode).toBeNull()
    expect(await Promise.all([...answers, ...more])).toEqual([...answers, ...more].map(() => 200))
    expect(Math.max(...peaks())).toBe(4)
  })
})

describe('a router that is killed', () => {
  test.for([1, 20])(
    'takes nothing of the others with it, and no replica gets more than %i at once',
    { timeout },
    async (concurrency) => {
      const [a, b] = await startTwoRouters(concurrency, 4, 5000)
      let over = false
      const survivor = load(b, 2 * concurrency, 5, () => over)
      for (let kill = 0; kill < 2; kill += 1) {
        const { router } = a
        const victim = load(a, 2 * concurrency, 6 + kill, () => router.signalCode !== null)
        const before = seen()
        await eventually(() => seen() > before + 300)
        a.router.kill('SIGKILL')
        await once(a.router, 'exit')
        a.router = startRouter(a)
        await untilRouterReady(a.router, a.admin)
        await victim
        await eventually(async () => (await ask(a, new Agent(), 1)) === 200)
      }
      over = true
      const { answered, failed } = await survivor
      expect(failed.length).toBeLessThanOrEqual(answered * 0.005)
      expect(Math.max(...peaks())).toBeLessThanOrEqual(concurrency)
    },
  )
})

describe('slots', () => {
  test(
    'of replicas that come go to those who wait, and of those that go to nobody',
    { timeout },
    async () => {
      const doors = await startTwoRouters(1, 4)
      const listed = (count: number, sequence: number) =>
        hub.publish(tableOf(1, origins.slice(0, count), 60_000, sequence))
      const busy = () => origins.map((origin) => origin.inFlight())
      const agent = new Agent()
      listed(1, 2)
      const asked = doors.flatMap((door) => Array.from({ length: 4 }, () => ask(door, agent, 1000)))
      await eventually(() => busy().join() === '1,0,0,0')
      listed(4, 3)
      await eventually(() => busy().join() === '1,1,1,1')
      listed(2, 4)
      expect(await Promise.all(asked)).toEqual(asked.map(() => 200))
      expect(peaks()).toEqual([1, 1, 1, 1])
    },
  )

  test('follow the requests, and nobody starves', { timeout }, async () => {
    const [a, b] = await startTwoRouters(2, 4)
    const agent = new Agent({ keepAlive: true })
    agents.push(agent)
    // All of them are at the router that came first; then the other one asks for as many as there are.
    for (const door of [b, a, b]) {
      const asked = Array.from({ length: 8 }, () => ask(door, agent, 500))
      await eventually(() => origins.reduce((sum, origin) => sum + origin.inFlight(), 0) === 8)
      expect(await Promise.all(asked)).toEqual(Array.from({ length: 8 }, () => 200))
    }
    // One request among many at the other router.
    let over = false
    const many = Array.from({ length: 30 }, async () => {
      while (!over) expect(await ask(b, agent, 20)).toBe(200)
    })
    for (let round = 0; round < 20; round += 1) expect(await ask(a, agent, 1)).toBe(200)
    over = true
    await Promise.all(many)
    expect(Math.max(...peaks())).toBe(2)
  })
})
