import { newId } from '@berth/contracts'
import { createTestDatabase, type TestDatabase } from '@berth/db/testing'
import { isEngineError } from '@berth/engine'
import type { FakeAppBehaviour } from '@berth/engine/testing'
import { createServer } from 'node:net'
import { once } from 'node:events'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, inject, test } from 'vitest'
import { freezeReplica } from './freeze-replica.ts'
import { holdReplica } from './hold-replica.ts'
import { checkHonesty } from './honesty.ts'
import { inspectReplica } from './inspect-replica.ts'
import { rememberAddresses } from './own-address.ts'
import { parkReplica } from './park-replica.ts'
import type { StartableReplica } from './replica-deps.ts'
import { startReplica } from './start-replica.ts'
import { stopReplica } from './stop-replica.ts'
import { startReplicaBench, type ReplicaBench } from './testing/replica-bench.ts'
import { wakeReplica } from './wake-replica.ts'

let database: TestDatabase
let bench: ReplicaBench
let behaviour: FakeAppBehaviour
let replica: StartableReplica
beforeAll(async () => {
  database = await createTestDatabase(inject('postgresUrl'))
})
afterAll(() => database.drop())
beforeEach(async () => {
  behaviour = {}
  bench = await startReplicaBench(database.db, { app: () => behaviour })
  const reserved = await bench.replica()
  const outcome = await startReplica(bench.deps, bench.host, reserved, { onPhase: () => {} })
  if (outcome.kind !== 'ready') throw new Error('not ready')
  replica = { ...reserved, containers: outcome.containers }
})
afterEach(() => bench.stop())

const environment = () => Promise.resolve({ TOKEN: 'hunter2-hunter2' })
const look = (wasParked = false) =>
  inspectReplica(bench.deps.installation, bench.host, replica, { wasParked, environment })
const appId = () => replica.containers.app ?? ''
const sandboxId = () => replica.containers.sandbox ?? ''
const calm = () => ({ signal: new AbortController().signal, withinMs: 200 })

/** From now on the replica's app is the one that waits. */
async function hold(): Promise<void> {
  const outcome = await holdReplica(bench.deps, bench.host, replica, calm())
  if (outcome.kind !== 'held') throw new Error(`not held: ${JSON.stringify(outcome)}`)
  replica = { ...replica, containers: { ...replica.containers, app: outcome.app } }
}

test('running, frozen and running again', async () => {
  expect(await look()).toEqual({ kind: 'running' })
  for (let times = 0; times < 2; times += 1)
    expect(await freezeReplica(bench.deps, bench.host, replica)).toEqual({ kind: 'done' })
  expect(await look()).toEqual({ kind: 'frozen' })
  for (let times = 0; times < 2; times += 1)
    expect(
      await wakeReplica(bench.deps, bench.host, { ...replica, rung: 'frozen' }, { environment }),
    ).toEqual({
      kind: 'running',
    })
  expect(await look()).toEqual({ kind: 'running' })
})

test('parked from running or frozen, and running again in the same sandbox', async () => {
  await freezeReplica(bench.deps, bench.host, replica)
  for (let times = 0; times < 2; times += 1)
    expect(await parkReplica(bench.deps, bench.host, replica)).toEqual({ kind: 'done' })
  expect(await look(true)).toEqual({ kind: 'parked' })
  expect(await wakeReplica(bench.deps, bench.host, { ...replica, rung: 'parked' }, { environment })).toEqual({
    kind: 'running',
  })
  expect(await look()).toEqual({ kind: 'running' })
  expect(bench.engine.containers()).toHaveLength(2)
})

test('an app that ignores SIGTERM is killed soon once somebody waits for it', async () => {
  behaviour = { ignoresSigterm: true }
  const hurry = new AbortController()
  const parking = parkReplica(bench.deps, bench.host, replica, { hurried: hurry.signal })
  await expect.poll(() => bench.engine.calls.some((call) => call.endsWith('/stop'))).toBe(true)
  hurry.abort()
  expect(await parking).toEqual({ kind: 'done' })
  expect(bench.engine.calls).toContain(`POST /containers/${appId()}/kill`)
  expect(await look(true)).toEqual({ kind: 'parked' })
})

test('an app that ends by itself is not killed, whoever waits for it', async () => {
  const hurry = new AbortController()
  hurry.abort()
  expect(await parkReplica(bench.deps, bench.host, replica, { hurried: hurry.signal })).toEqual({
    kind: 'done',
  })
  expect(bench.engine.calls.some((call) => call.endsWith('/kill'))).toBe(false)
})

test('a wake needs no row', async () => {
  await parkReplica(bench.deps, bench.host, replica)
  const { installation, fence, gate } = bench.deps
  const outcome = await wakeReplica(
    { installation, fence, gate },
    bench.host,
    { ...replica, rung: 'parked' },
    { environment },
  )
  expect(outcome).toEqual({ kind: 'running' })
})

test.each([
  ['that is held', true, ['kill']],
  ['that has ended', false, ['json', 'start']],
])('a wake of an app %s asks the engine for no more than it needs', async (_what, held, asked) => {
  await parkReplica(bench.deps, bench.host, replica)
  if (held) await hold()
  // Where a connect to the published port tells nothing, as behind a proxy, the app is found at its own address.
  bench.engine.state.find(sandboxId()).address = replica.address
  const [container] = replica.template.containers
  if (container === undefined) throw new Error('no container')
  const ports = [{ port: replica.hostPort, protocol: 'http1' as const }]
  const template = { ...replica.template, containers: [{ ...container, ports }] }
  const { runtime } = bench.host
  rememberAddresses(runtime, await runtime.list({ installation: bench.deps.installation }))
  const before = bench.engine.calls.length
  const host = { ...bench.host, honestPorts: false }
  const outcome = await wakeReplica(
    bench.deps,
    host,
    { ...replica, template, rung: 'parked', held },
    { environment },
  )
  expect(outcome).toEqual({ kind: 'running' })
  const verbs = bench.engine.calls.slice(before).map((call) => call.split(`/containers/${appId()}/`)[1])
  expect(verbs).toEqual(asked)
})

test('what somebody pruned is cold, not an error', async () => {
  await parkReplica(bench.deps, bench.host, replica)
  await bench.host.runtime.remove(appId(), bench.deps.fence)
  expect(await look(true)).toEqual({ kind: 'cold' })
  expect(await wakeReplica(bench.deps, bench.host, { ...replica, rung: 'parked' }, { environment })).toEqual({
    kind: 'cold',
  })
  expect(await wakeReplica(bench.deps, bench.host, { ...replica, rung: 'frozen' }, { environment })).toEqual({
    kind: 'cold',
  })
  expect(await freezeReplica(bench.deps, bench.host, replica)).toEqual({ kind: 'gone' })
  expect(await parkReplica(bench.deps, bench.host, replica)).toEqual({ kind: 'gone' })
})

test('a dead sandbox is a dead replica', async () => {
  await parkReplica(bench.deps, bench.host, replica)
  bench.engine.exit(sandboxId())
  expect(await look(true)).toEqual({ kind: 'gone' })
  expect(await wakeReplica(bench.deps, bench.host, { ...replica, rung: 'parked' }, { environment })).toEqual({
    kind: 'cold',
  })
  const outcome = await startReplica(bench.deps, bench.host, replica, { onPhase: () => {} })
  expect(outcome).toMatchObject({ kind: 'failed', reason: 'StartFailed' })
  expect(bench.engine.containers()).toEqual([])
})

test('an app that ended says why, and is started anew in its sandbox', async () => {
  bench.engine.exit(appId(), { exitCode: 9 })
  expect(await look()).toMatchObject({ kind: 'exited', exitCode: 9, reason: 'AppCrashed' })
  expect(await wakeReplica(bench.deps, bench.host, { ...replica, rung: 'frozen' }, { environment })).toEqual({
    kind: 'cold',
  })
  const outcome = await startReplica(bench.deps, bench.host, replica, { onPhase: () => {} })
  expect(outcome).toMatchObject({ kind: 'ready', containers: replica.containers })
  expect(await look()).toEqual({ kind: 'running' })
})

test('an app that crashes while it wakes fails with its reason', async () => {
  await parkReplica(bench.deps, bench.host, replica)
  behaviour = { listenAfterMs: 'never', exitAfterMs: 10, exitCode: 1 }
  const outcome = await wakeReplica(bench.deps, bench.host, { ...replica, rung: 'parked' }, { environment })
  expect(outcome).toMatchObject({ kind: 'failed', reason: 'AppCrashed' })
})

test('stopping removes app and sandbox, once and again, frozen or not', async () => {
  await freezeReplica(bench.deps, bench.host, replica)
  for (let times = 0; times < 2; times += 1) await stopReplica(bench.deps, bench.host, replica)
  expect(bench.engine.containers()).toEqual([])
})

test('stopping finds by name what was never written down', async () => {
  await stopReplica(bench.deps, bench.host, { ...replica, containers: {} })
  expect(bench.engine.containers()).toEqual([])
})

test('a stop that the engine refuses fails, and succeeds later', async () => {
  bench.engine.fail('DELETE /containers/*', { status: 500, message: 'busy', times: 1 })
  const failure: unknown = await stopReplica(bench.deps, bench.host, replica).catch((error: unknown) => error)
  expect(isEngineError(failure)).toBe(true)
  await stopReplica(bench.deps, bench.host, replica)
  expect(bench.engine.containers()).toEqual([])
})

test('an engine that does not answer makes a wake fail, not throw', async () => {
  await freezeReplica(bench.deps, bench.host, replica)
  bench.engine.cut('POST /containers/*/unpause', { before: true, times: 1 })
  const outcome = await wakeReplica(bench.deps, bench.host, { ...replica, rung: 'frozen' }, { environment })
  expect(outcome.kind).toBe('failed')
  expect(await wakeReplica(bench.deps, bench.host, { ...replica, rung: 'frozen' }, { environment })).toEqual({
    kind: 'running',
  })
})

test('a node is honest when nothing answers behind a published port, and leaves no trace of the question', async () => {
  const { installation, fence } = bench.deps
  const { runtime, sandboxImage } = bench.host
  const before = bench.engine.containers().length
  const about = { installation, sandboxImage, fence }
  expect(await checkHonesty(runtime, { address: replica.address }, about)).toBe(true)
  expect(bench.engine.containers()).toHaveLength(before)
})

test('a node behind a proxy that accepts everything is not honest', async () => {
  const { installation, fence } = bench.deps
  const { runtime, sandboxImage } = bench.host
  const accepted = createServer((socket) => socket.end())
  // The proxy is set up at the port of the started sandbox, as the engine does it.
  const proxied = {
    ...runtime,
    async startContainer(id: string) {
      await runtime.startContainer(id, fence)
      const sandbox = bench.engine.state.find(id)
      const at = bench.engine.state.publishedAt(sandbox)
      accepted.listen(at?.port, at?.address)
      await once(accepted, 'listening')
    },
  }
  try {
    const about = { installation, sandboxImage, fence }
    expect(await checkHonesty(proxied, { address: replica.address }, about)).toBe(false)
  } finally {
    accepted.close()
  }
})

describe('a parked app that is held', () => {
  const parked = (held: boolean) => ({ ...replica, rung: 'parked' as const, held })
  const names = () => new Set(bench.engine.containers().map(({ name }) => name.split('-').at(-1)))
  beforeEach(() => parkReplica(bench.deps, bench.host, replica))

  test('has started and not begun, beside what is kept of the app before it', async () => {
    const before = appId()
    await hold()
    expect(await look(true)).toEqual({ kind: 'held' })
    expect(await look()).toEqual({ kind: 'held' })
    expect(bench.engine.state.find(before).name).toMatch(/-past$/)
    expect(names()).toEqual(new Set(['app', 'past', 'sandbox']))
    expect(await wakeReplica(bench.deps, bench.host, parked(true), { environment })).toEqual({
      kind: 'running',
    })
    expect(await look()).toEqual({ kind: 'running' })
  })

  test('is held again and again in the container that was made for it', async () => {
    await hold()
    const first = appId()
    for (let times = 0; times < 2; times += 1) {
      if (times > 0) await hold()
      expect(await look(true)).toEqual({ kind: 'held' })
      expect(appId()).toBe(first)
      expect(await wakeReplica(bench.deps, bench.host, parked(true), { environment })).toEqual({
        kind: 'running',
      })
      await parkReplica(bench.deps, bench.host, replica)
    }
    expect(names()).toEqual(new Set(['app', 'past', 'sandbox']))
  })

  test.each([
    ['nobody knows of yet', false, () => {}],
    ['ended with its engine', true, () => bench.engine.exit(appId(), { exitCode: 143 })],
    ['was parked again and is not held yet', false, () => bench.engine.exit(appId(), { exitCode: 143 })],
  ])('wakes when it %s', async (_what, known, happens) => {
    await hold()
    happens()
    expect(await wakeReplica(bench.deps, bench.host, parked(known), { environment })).toEqual({
      kind: 'running',
    })
    expect(await look()).toEqual({ kind: 'running' })
  })

  test('is cold when it is gone, known to be held or not', async () => {
    await hold()
    await bench.host.runtime.remove(appId(), bench.deps.fence)
    for (const known of [true, false])
      expect(await wakeReplica(bench.deps, bench.host, parked(known), { environment })).toEqual({
        kind: 'cold',
      })
    expect(await look(true)).toEqual({ kind: 'cold' })
  })

  test('is started again in its place like any other when it has crashed', async () => {
    await hold()
    await wakeReplica(bench.deps, bench.host, parked(true), { environment })
    bench.engine.exit(appId(), { exitCode: 9 })
    expect(await look()).toMatchObject({ kind: 'exited', exitCode: 9 })
    const outcome = await startReplica(bench.deps, bench.host, replica, { onPhase: () => {} })
    expect(outcome).toMatchObject({ kind: 'ready', containers: replica.containers })
    expect(await look()).toEqual({ kind: 'running' })
    await parkReplica(bench.deps, bench.host, replica)
    await hold()
    expect(await look(true)).toEqual({ kind: 'held' })
  })

  test('is stopped, and not held, when it does not wait where it should', async () => {
    await hold()
    await parkReplica(bench.deps, bench.host, replica)
    const blind = { ...bench.host.runtime, isHeld: () => Promise.resolve(false) }
    const host = { ...bench.host, runtime: blind }
    expect(await holdReplica(bench.deps, host, replica, calm())).toMatchObject({ kind: 'failed' })
    expect(await look(true)).toEqual({ kind: 'parked' })
  })

  test('goes with everything that was before it', async () => {
    await hold()
    await stopReplica(bench.deps, bench.host, replica)
    expect(bench.engine.containers()).toEqual([])
  })

  test('is left as it was when somebody wants to start it meanwhile, and nothing stays of the attempt', async () => {
    bench.engine.hang('POST /containers/*/start', { times: 1 })
    const wanted = new AbortController()
    const holding = holdReplica(bench.deps, bench.host, replica, wanted)
    await expect.poll(() => bench.engine.calls.filter((call) => call.endsWith('/start'))).toHaveLength(3)
    wanted.abort()
    const outcome = await holding
    if (outcome.kind !== 'called off') throw new Error(outcome.kind)
    expect(await wakeReplica(bench.deps, bench.host, parked(false), { environment })).toEqual({
      kind: 'running',
    })
    bench.engine.release()
    await outcome.cleared
    expect(names()).toEqual(new Set(['app', 'sandbox']))
  })

  test('is not made when the engine refuses, and the app starts as ever', async () => {
    bench.engine.fail('PUT /containers/*/archive', { status: 500, message: 'read-only file system' })
    expect(await holdReplica(bench.deps, bench.host, replica, calm())).toMatchObject({ kind: 'failed' })
    expect(names()).toEqual(new Set(['app', 'sandbox']))
    expect(await wakeReplica(bench.deps, bench.host, parked(false), { environment })).toEqual({
      kind: 'running',
    })
  })

  test('is none with volumes', async () => {
    const volumes = [
      { uid: newId('VolumeUid'), made: true, name: 'v', title: 'v', mountPath: '/data' },
    ] as const
    const outcome = await holdReplica(bench.deps, bench.host, { ...replica, volumes }, calm())
    expect(outcome).toMatchObject({ kind: 'unable' })
  })

  test.each([
    ['the two have changed places', 'POST /containers/*/rename', 1],
    ['one of them has', 'POST /containers/*/rename', 2],
  ])('is made anew by the next worker when one ends before %s', async (_what, route, at) => {
    const before = appId()
    for (let call = 1; call < at; call += 1) bench.engine.delay(route, { ms: 0, times: 1 })
    bench.engine.fail(route, { status: 500, message: 'gone' })
    expect(await holdReplica(bench.deps, bench.host, replica, calm())).toMatchObject({ kind: 'failed' })
    bench.engine.release()
    expect(await look(true)).toEqual({ kind: 'parked' })
    await hold()
    expect(appId()).not.toBe(before)
    expect(names()).toEqual(new Set(['app', 'past', 'sandbox']))
  })

  test('is made anew by a worker that has not read which one the app is', async () => {
    const { containers } = replica
    await hold()
    replica = { ...replica, containers }
    await hold()
    expect(names()).toEqual(new Set(['app', 'past', 'sandbox']))
    expect(await look(true)).toEqual({ kind: 'held' })
  })
})

describe('what an app printed before it ended', () => {
  const prints = ['connecting with hunter2-hunter2']
  const said = 'connecting with ***'

  test('is told without the values of its variables when it ends by itself', async () => {
    bench.engine
      .containers()
      .find(({ id }) => id === appId())
      ?.log.push({ at: new Date(), line: prints[0] ?? '' })
    bench.engine.exit(appId(), { exitCode: 1 })
    expect(await look()).toMatchObject({ kind: 'exited', message: expect.stringContaining(said) })
  })

  test('is told without them when it fails to wake, and not at all where they are not known', async () => {
    await parkReplica(bench.deps, bench.host, replica)
    behaviour = { listenAfterMs: 'never', exitAfterMs: 20, exitCode: 1, prints }
    const wake = (known: typeof environment | (() => Promise<null>)) =>
      wakeReplica(bench.deps, bench.host, { ...replica, rung: 'parked' }, { environment: known })
    expect(await wake(environment)).toMatchObject({ kind: 'failed', message: expect.stringContaining(said) })
    const unknown = await wake(() => Promise.resolve(null))
    expect(unknown).toMatchObject({ kind: 'failed', message: 'the app ended with exit code 1' })
  })
})
