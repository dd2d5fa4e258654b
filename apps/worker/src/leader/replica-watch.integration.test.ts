import { connectEngine } from '@berth/engine'
import { heldFence } from '@berth/engine/testing'
import type { ReplicaId } from '@berth/contracts'
import { createTestDatabase, type TestDatabase } from '@berth/db/testing'
import { pino } from 'pino'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, inject, test } from 'vitest'
import type { StartableReplica } from '../replicas/replica-deps.ts'
import { holdReplica } from '../replicas/hold-replica.ts'
import { startReplica } from '../replicas/start-replica.ts'
import { startReplicaBench, type ReplicaBench } from '../replicas/testing/replica-bench.ts'
import { createReplicaWatch, type ReplicaWatch } from './replica-watch.ts'
import { aNode, aReplica, aRevision, aService } from './testing/picture.ts'
import type { ReplicaView } from './world-model.ts'
import { createPicture, type Picture } from './world.ts'

const patient = { timeout: 20_000 }

let database: TestDatabase
let bench: ReplicaBench
let started: StartableReplica
let picture: Picture
let watch: ReplicaWatch
let woken: ReplicaId[]
let failed: string[]
let ended: string[]
let written: string[]
let busy: boolean
beforeAll(async () => {
  database = await createTestDatabase(inject('postgresUrl'))
})
afterAll(() => database.drop())
beforeEach(async () => {
  bench = await startReplicaBench(database.db)
  started = await bench.replica()
  const outcome = await startReplica(bench.deps, bench.host, started, { onPhase: () => {} })
  if (outcome.kind !== 'ready') throw new Error(JSON.stringify(outcome))
  ;[woken, failed, ended, written, busy] = [[], [], [], [], false]
  picture = createPicture({ touchedSince: () => false })
  const {
    serving: _serving,
    held: _held,
    ...replica
  } = aReplica({
    id: started.id,
    nodeUid: bench.host.uid,
    containers: outcome.containers,
  })
  const node = aNode({ uid: bench.host.uid })
  const services = [{ ...aService(), deploying: false }]
  const replicas = [{ ...replica, failedAt: null }]
  picture.merge({ services, revisions: [aRevision()], replicas, nodes: [node] }, { number: 1, moment: 0 })
  picture.updateReplica(started.id, { serving: true })
  watch = aWatch()
})
afterEach(() => bench.stop())

function aWatch(): ReplicaWatch {
  return createReplicaWatch({
    installation: bench.deps.installation,
    picture,
    keeper: {
      busyWith: () => busy,
      wake: (id) => Promise.resolve(woken.push(id)).then(() => 'running' as const),
      fail: (_id, { reason }) => void failed.push(reason),
    },
    restarts: { ended: (_replica, { reason, message }) => void ended.push(`${reason}: ${message}`) },
    publisher: { publish: () => ({ epoch: 1, sequence: 1 }) },
    writer: {
      write: (_key, what) => void written.push(what),
      touchedSince: () => false,
      moment: () => 0,
      idle: () => Promise.resolve(),
      close: () => undefined,
    },
    engines: { host: () => bench.host },
    environmentOf: () => Promise.resolve(null),
    onListed: () => undefined,
    isFresh: () => true,
    log: pino({ level: 'silent' }),
  })
}

const replica = (): ReplicaView | undefined => picture.replicas.get(started.id)
const appId = () => replica()?.containers.app ?? ''
const app = () => bench.engine.state.find(appId())
const look = () => watch.look(bench.host.uid)

describe('a look at a node', () => {
  test('changes nothing where all is as it should be', async () => {
    const before = replica()
    expect(await look()).toBe(true)
    expect(replica()).toEqual(before)
    expect([woken, failed, written]).toEqual([[], [], []])
  })

  test('takes a replica that somebody else has paused out of the routes and wakes it', async () => {
    bench.engine.state.pause(app())
    await look()
    expect(replica()).toMatchObject({ rung: 'frozen', serving: false })
    expect(woken).toEqual([started.id])
  })

  test('routes a frozen replica that somebody else has unpaused', async () => {
    picture.updateReplica(started.id, { rung: 'frozen', serving: false })
    await look()
    expect(replica()).toMatchObject({ rung: 'running', serving: true })
    expect(written).toEqual(['rung'])
  })

  test('tells why the app of a replica has ended', async () => {
    bench.engine.exit(appId(), { exitCode: 143 })
    await look()
    expect(ended).toEqual(['AppCrashed: the app ended with exit code 143 (SIGTERM)'])
  })

  test('gives up a replica whose sandbox somebody else has removed', async () => {
    await bench.host.runtime.remove(replica()?.containers.sandbox ?? '', heldFence)
    await look()
    expect(failed).toEqual(['EngineError'])
  })

  test('calls a parked replica cold whose app somebody else has removed', async () => {
    picture.updateReplica(started.id, { rung: 'parked', serving: false })
    await bench.host.runtime.remove(appId(), heldFence)
    await look()
    expect(replica()).toMatchObject({ state: 'draining' })
    expect(failed).toEqual([])
  })

  test('leaves alone what the keeper is doing something to', async () => {
    busy = true
    bench.engine.state.pause(app())
    await look()
    expect(replica()).toMatchObject({ rung: 'running', serving: true })
  })

  test('changes nothing on a node that does not answer', async () => {
    bench.engine.fail('GET /containers/json', { status: 500, message: 'broken' })
    expect(await look()).toBe(false)
    expect(replica()).toMatchObject({ rung: 'running', serving: true })
  })
})

describe('a look at a node with a held app', () => {
  let before: string
  beforeEach(async () => {
    before = appId()
    const { deps, host } = bench
    await bench.host.runtime.stop(before, 0, heldFence)
    const containers = replica()?.containers ?? {}
    const outcome = await holdReplica(deps, host, { ...started, containers }, new AbortController())
    if (outcome.kind !== 'held') throw new Error(JSON.stringify(outcome))
    const present = { ...containers, app: outcome.app }
    picture.updateReplica(started.id, { rung: 'parked', serving: false, containers: present })
  })
  const state = () => {
    const { rung, serving, held, containers } = replica() ?? aReplica()
    return { rung, serving, held, app: containers.app }
  }

  test('takes note that it waits', async () => {
    await look()
    expect(state()).toMatchObject({ rung: 'parked', serving: false, held: true })
    const calls = bench.engine.calls.length
    await look()
    expect(bench.engine.calls.slice(calls)).toEqual(['GET /containers/json'])
    expect([woken, failed, ended, written]).toEqual([[], [], [], []])
  })

  test('takes note that it waits no more', async () => {
    await look()
    bench.engine.exit(appId(), { exitCode: 143 })
    await look()
    expect(state()).toMatchObject({ rung: 'parked', held: false })
    expect([failed, ended]).toEqual([[], []])
  })

  test('finds it when the leader that made it could not write it down', async () => {
    const held = appId()
    picture.updateReplica(started.id, { containers: { ...replica()?.containers, app: before } })
    await look()
    expect(state()).toEqual({ rung: 'parked', serving: false, held: true, app: held })
    expect(written).toEqual(['containers'])
  })

  test('wakes it when the leader that was to let it go is gone', async () => {
    picture.updateReplica(started.id, { rung: 'running' })
    await look()
    expect(state()).toMatchObject({ rung: 'parked', serving: false, held: true })
    expect(woken).toEqual([started.id])
  })

  test('routes it when the leader that let it go is gone', async () => {
    await bench.host.runtime.release(appId(), heldFence)
    await look()
    expect(state()).toMatchObject({ rung: 'running', serving: true, held: false })
  })
})

describe('following the events of a node', () => {
  let over: AbortController
  beforeEach(() => {
    over = new AbortController()
  })
  afterEach(() => over.abort())

  async function follow(): Promise<void> {
    const opened = bench.engine.state.eventsSince.length + 1
    void watch.follow(bench.host.uid, bench.host.runtime, over.signal)
    await expect.poll(() => bench.engine.state.eventsSince.length, patient).toBe(opened)
  }

  test('looks at once when something happens to a container', async () => {
    await follow()
    bench.engine.state.pause(app())
    await expect.poll(() => woken, patient).toEqual([started.id])
  })

  test('opens a stream that broke again with the time of the last event', async () => {
    await follow()
    bench.engine.state.pause(app())
    await expect.poll(() => woken, patient).toEqual([started.id])
    const last = bench.engine.state.events.at(-1)?.at ?? 0
    bench.engine.dropEvents()
    await expect.poll(() => bench.engine.state.eventsSince.length, patient).toBe(2)
    // Nanoseconds do not fit a number exactly: a millisecond too early asks for one event too many.
    expect([last - 1, last]).toContain(bench.engine.state.eventsSince[1])
  })

  test('sees what happened while the stream was broken', async () => {
    await follow()
    bench.engine.dropEvents()
    bench.engine.state.pause(app())
    await expect.poll(() => woken, patient).toContain(started.id)
  })

  test('hears nothing of another installation', async () => {
    await follow()
    const runtime = connectEngine(bench.engine.endpoint)
    const before = bench.engine.calls.filter((call) => call === 'GET /containers/json').length
    const place = { network: 'bridge', hostAddress: '127.0.0.1', hostPort: 0, containerPort: 1 }
    const labels = { 'berth.installation': 'other' }
    const id = await runtime.createSandbox(
      { name: 'other', image: bench.host.sandboxImage, labels, ...place },
      heldFence,
    )
    await runtime.startContainer(id, heldFence)
    bench.engine.exit(id)
    bench.engine.state.pause(app())
    await expect.poll(() => woken, patient).toEqual([started.id])
    const looks = bench.engine.calls.filter((call) => call === 'GET /containers/json').length - before
    expect(looks).toBe(1)
    runtime.close()
  })
})
