import { randomBytes } from 'node:crypto'
import { mkdtemp, rm, stat } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Redis } from 'ioredis'
import { pino } from 'pino'
import { afterEach, beforeEach, expect, inject, test } from 'vitest'
import {
  redisKeys,
  relayedRouterFrame,
  type LeaderFrame,
  type RouterFrame,
  type RouteSnapshot,
} from '@berth/contracts'
import { parseConfig } from './config.ts'
import { startRouter } from './router.ts'
import { ask, eventually, startApp, startEdge } from './testing/edge.ts'
import { aReplica, aRevision, aSnapshot, testInstallation } from './testing/routes.ts'

const keys = redisKeys(testInstallation)
const endings: (() => Promise<unknown> | void)[] = []
const atEnd = (ending: () => Promise<unknown> | void) => endings.push(ending)
afterEach(async () => {
  for (const ending of endings.splice(0).reverse()) await ending()
})

/** A leader at the other end of Redis. */
let leader: {
  frames: RouterFrame[]
  last(kind: RouterFrame['kind']): RouterFrame | undefined
  keep(table: RouteSnapshot): Promise<unknown>
  say(frame: LeaderFrame): Promise<unknown>
}
/** A user that may do what the router's user may, and nothing else. */
let routerUrl: string

beforeEach(async () => {
  const store = new Redis(inject('redisUrl'))
  const listener = new Redis(inject('redisUrl'))
  const user = `router-${randomBytes(4).toString('hex')}`
  atEnd(async () => {
    await store.call('ACL', 'DELUSER', user)
    await store.del(keys.routeSnapshot)
    store.disconnect()
    listener.disconnect()
  })
  await store.call('ACL', 'SETUSER', user, 'on', '>secret', ...keys.routerRules.split(' '))
  routerUrl = `${inject('redisUrl')}?username=${user}&password=secret`
  const frames: RouterFrame[] = []
  listener.on('message', (_channel, text) => frames.push(relayedRouterFrame.parse(JSON.parse(text)).frame))
  await listener.subscribe(keys.routerFrames)
  leader = {
    frames,
    last: (kind) => frames.findLast((frame) => frame.kind === kind),
    keep: (table) => store.set(keys.routeSnapshot, JSON.stringify(table)),
    // Redis tells how many heard it: a router that does not listen yet would miss it.
    say: (frame) =>
      eventually(async () => (await store.publish(keys.leaderFrames, JSON.stringify(frame))) > 0),
  }
})

async function answering(text: string): Promise<number> {
  const app = await startApp((_request, response) => response.end(text))
  atEnd(() => app.close())
  return app.port
}

async function tableLeadingTo(text: string, sequence: number): Promise<RouteSnapshot> {
  const revisions = [aRevision({ replicas: [aReplica(`r${sequence}`, await answering(text))] })]
  return aSnapshot({ version: { epoch: 1, sequence }, revisions })
}

/** A router that has no other way to its leader. */
async function routerWithoutSocket(): Promise<{ port: number; file: string }> {
  const folder = await mkdtemp(join(tmpdir(), 'br-'))
  atEnd(() => rm(folder, { recursive: true, force: true }))
  const file = join(folder, 'routes.json')
  const config = parseConfig({
    BERTH_INSTALLATION: testInstallation,
    BERTH_ROUTER_REDIS_URL: routerUrl,
    BERTH_ROUTE_TABLE_FILE: file,
    BERTH_EDGE_PORT: '0',
    BERTH_ROUTER_ADMIN_PORT: '0',
    BERTH_ROUTER_DRAIN_SECONDS: '0',
  })
  const router = await startRouter(config, pino({ level: 'silent' }))
  atEnd(() => router.stop())
  return { port: router.edgePorts[0] ?? 0, file }
}

test('a router without a direct way is led through Redis, with the rights of its own user', async () => {
  await leader.keep(aSnapshot())
  const { port } = await routerWithoutSocket()
  await eventually(() => leader.last('hello') && leader.last('acknowledge'))
  const waiting = ask({ port })
  await eventually(() => leader.last('demand'))
  await leader.say(await tableLeadingTo('through redis', 2))
  expect((await waiting).body).toBe('through redis')
  await eventually(() => leader.last('report'))
})

test.each([
  ['read the queue', 'GET', `${keys.queuePrefix}:services:meta`],
  ['read the table of another installation', 'GET', redisKeys('other').routeSnapshot],
  ['speak to the routers of another installation', 'PUBLISH', redisKeys('other').leaderFrames, '{}'],
  ['listen to another installation', 'SUBSCRIBE', redisKeys('other').routerFrames],
  ['listen to everything', 'PSUBSCRIBE', '*'],
  ['list keys', 'KEYS', '*'],
  ['forget everything', 'FLUSHALL'],
  ['read the configuration', 'CONFIG', 'GET', '*'],
  ['change rights', 'ACL', 'SETUSER', 'router', '+@all'],
  ['run scripts', 'EVAL', 'return 1', '0'],
])('the user of a router may not %s', async (_what, command, ...args) => {
  const redis = new Redis(routerUrl, { maxRetriesPerRequest: 1 })
  atEnd(() => redis.disconnect())
  await expect(redis.call(command, ...args)).rejects.toThrow(/^NOPERM/)
})

test('a router goes from its direct way to Redis and back, and hears one of the two', async () => {
  const edge = await startEdge(await tableLeadingTo('first', 1), { BERTH_ROUTER_REDIS_URL: routerUrl })
  atEnd(() => edge.close())
  const served = async () => (await ask({ port: edge.port })).body
  const reports = () => edge.leader.frames.filter(({ kind }) => kind === 'report').length
  /** Waits for two reports over the socket; meanwhile nothing goes through Redis. */
  async function expectSocketOnly(): Promise<void> {
    await eventually(() => reports() > 0)
    leader.frames.splice(0)
    edge.leader.frames.splice(0)
    await eventually(() => reports() >= 2)
    expect(leader.frames).toEqual([])
  }
  await leader.say(await tableLeadingTo('from redis, while the socket works', 5))
  await expectSocketOnly()
  expect(await served()).toBe('first')

  await edge.leader.stop()
  await eventually(() => leader.last('hello') && leader.last('report'))
  await leader.say(await tableLeadingTo('second', 2))
  await eventually(async () => (await served()) === 'second')
  await eventually(() => leader.last('acknowledge'))

  edge.publish(await tableLeadingTo('third', 3))
  edge.leader.frames.splice(0)
  await edge.leader.start()
  await eventually(async () => (await served()) === 'third')
  expect(edge.leader.last('hello')?.version).toEqual({ epoch: 1, sequence: 2 })
  await expectSocketOnly()
})

test('a table that is served already is acknowledged again, and neither taken over nor kept again', async () => {
  await leader.keep(aSnapshot())
  const { file } = await routerWithoutSocket()
  const kept = await eventually(() => stat(file).catch(() => undefined))
  await leader.say(aSnapshot())
  const count = (kind: RouterFrame['kind']) => leader.frames.filter((frame) => frame.kind === kind).length
  await eventually(() => count('hello') >= 3 && count('acknowledge') >= 3)
  // A table that is kept is a new file in the place of the one before.
  expect((await stat(file)).ino).toBe(kept.ino)
})
