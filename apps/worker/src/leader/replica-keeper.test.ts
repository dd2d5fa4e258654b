import type { ReplicaId, RevisionUid, VolumeUid } from '@berth/contracts'
import { describe, expect, test } from 'vitest'
import { keeperBench } from './testing/keeper-bench.ts'
import { aNode, aReplica, aRevision, aService } from './testing/picture.ts'

const id = 'rep-1' as ReplicaId
const node = aNode().uid
const lost = { reason: 'NodeLost', message: 'its node does not answer' } as const
const crashed = { kind: 'failed', reason: 'AppCrashed', message: 'exit code 1' } as const
const started = { kind: 'ready', hostPort: 20_001, containers: { sandbox: 's', app: 'a' } } as const

/** A replica that is being started. */
async function starting() {
  const bench = keeperBench({ state: 'starting', serving: false, readyAt: null })
  bench.keeper.bringUp(id)
  await bench.settle()
  return bench
}

/** A parked replica that is being woken. */
async function waking() {
  const bench = keeperBench({ rung: 'parked', serving: false })
  const woken = bench.keeper.wake(id)
  await bench.settle()
  return { ...bench, woken }
}

/** A running replica that every router has let go of, on its way to a lower rung. */
async function steppingDown(to: 'frozen' | 'parked') {
  const bench = keeperBench()
  const stepped = bench.keeper.stepDown(id, to)
  await bench.settle()
  return { ...bench, stepped }
}

describe('a start', () => {
  test('routes the replica at the port that it really got', async () => {
    const { calls, replica, written, settle } = await starting()
    calls.start[0]?.resolve(started)
    await settle()
    expect(replica()).toMatchObject({ state: 'ready', serving: true, hostPort: 20_001 })
    expect(written).toContain('ready')
  })

  test('that fails says why', async () => {
    const { calls, replica, outcomes, settle } = await starting()
    calls.start[0]?.resolve(crashed)
    await settle()
    expect(replica()).toMatchObject({ state: 'failed', reason: 'AppCrashed' })
    expect(outcomes).toEqual(['AppCrashed'])
  })

  test('is called off when its replica retires, which is removed after it', async () => {
    const { keeper, picture, calls, signals, withdrawals, replica, settle } = await starting()
    picture.updateReplica(id, { state: 'draining' })
    keeper.retire(id)
    expect(signals.start?.aborted).toBe(true)
    calls.start[0]?.resolve({ kind: 'aborted' })
    await settle()
    keeper.retire(id)
    withdrawals[0]?.resolve('withdrawn')
    await settle()
    calls.stop[0]?.resolve()
    await settle()
    expect(replica()).toBeUndefined()
  })

  test('that fails after its replica was retired leaves the retirement alone', async () => {
    const { keeper, picture, calls, replica, outcomes, written, settle } = await starting()
    picture.updateReplica(id, { state: 'draining' })
    keeper.retire(id)
    calls.start[0]?.resolve(crashed)
    await settle()
    expect(replica()?.state).toBe('draining')
    expect([outcomes, written]).toEqual([[], []])
  })

  test('on a node that is lost is called off, and its replica fails while it still ends', async () => {
    const { keeper, calls, signals, replica, outcomes, setNode, settle } = await starting()
    setNode('down')
    keeper.abandon(node)
    expect(signals.start?.aborted).toBe(true)
    keeper.fail(id, lost)
    expect(replica()).toMatchObject({ state: 'failed', reason: 'NodeLost' })
    expect(keeper.busyWith(id)).toBe(true)
    calls.start[0]?.resolve(started)
    await settle()
    expect(replica()).toMatchObject({ state: 'failed', reason: 'NodeLost', serving: false })
    expect(outcomes).toEqual(['NodeLost'])
  })

  test('that ends well on a node that has just gone down is not routed', async () => {
    const { calls, replica, setNode, settle } = await starting()
    setNode('down')
    calls.start[0]?.resolve(started)
    await settle()
    expect(replica()).toMatchObject({ state: 'ready', serving: false })
  })
})

describe('volumes', () => {
  const [app] = aRevision().template.containers
  const mounting = aRevision({
    uid: 'rev-2' as RevisionUid,
    template: {
      ...aRevision().template,
      containers: app ? [{ ...app, volumes: [{ name: 'data', mountPath: '/data' }] }] : [],
    },
  })
  const data = { uid: 'vol-1' as VolumeUid, name: 'data', nodeUid: node, made: true }

  /** A replica that is being started and mounts the volume "data", which another one has. */
  async function startingWith(volumes: (typeof data)[]) {
    const bench = keeperBench({ state: 'starting', serving: false, readyAt: null, revisionUid: mounting.uid })
    const other = { ...aReplica({ id: 'rep-2' as ReplicaId, revisionUid: mounting.uid }), failedAt: null }
    bench.picture.merge(
      {
        services: [{ ...aService({ volumes }), deploying: true }],
        revisions: [mounting],
        replicas: [other, ...bench.rows()],
        nodes: [aNode()],
      },
      { number: 2, moment: 0 },
    )
    bench.keeper.bringUp(id)
    await bench.settle()
    return bench
  }

  test('are taken over from the replica that has them when the app is about to start, not before', async () => {
    const { picture, takeOver, calls, withdrawals, settle } = await startingWith([data])
    const other = () => picture.replicas.get('rep-2' as ReplicaId)
    expect(other()?.state).toBe('ready')
    takeOver()
    await settle()
    expect(other()).toMatchObject({ state: 'draining', serving: false })
    withdrawals[0]?.resolve('withdrawn')
    await settle()
    calls.stop[0]?.resolve()
    await settle()
    expect(other()).toBeUndefined()
  })

  test('that were deleted are why a replica does not start', async () => {
    const { replica, calls } = await startingWith([])
    expect(replica()).toMatchObject({ state: 'failed', message: 'the volume "data" was deleted' })
    expect(calls.start).toEqual([])
  })
})

describe('a wake', () => {
  test('routes the replica when it answers', async () => {
    const { calls, replica, woken } = await waking()
    calls.wake[0]?.resolve({ kind: 'running' })
    expect(await woken).toBe('running')
    expect(replica()).toMatchObject({ rung: 'running', serving: true })
  })

  test('from parked makes a replica ready that was not, and one from frozen is still to be asked', async () => {
    const unready = { serving: false, reason: 'ProbeFailed', message: 'status 503' } as const
    for (const rung of ['parked', 'frozen'] as const) {
      const { keeper, calls, replica, written } = keeperBench({ rung, ...unready })
      const woken = keeper.wake(id)
      calls.wake[0]?.resolve({ kind: 'running' })
      expect(await woken).toBe('running')
      expect(replica()).toMatchObject({
        rung: 'running',
        serving: true,
        reason: rung === 'parked' ? null : 'ProbeFailed',
      })
      expect(written.includes('readiness')).toBe(rung === 'parked')
    }
  })

  test('of a frozen replica routes it together with the unpause', async () => {
    const { keeper, replica } = keeperBench({ rung: 'frozen', serving: false })
    void keeper.wake(id)
    expect(replica()).toMatchObject({ rung: 'frozen', serving: true })
  })

  test('that fails says why, unless the replica was lost meanwhile', async () => {
    const failing = await waking()
    failing.calls.wake[0]?.resolve(crashed)
    expect(await failing.woken).toBe('failed')
    expect(failing.replica()).toMatchObject({ state: 'failed', reason: 'AppCrashed' })

    const late = await waking()
    late.keeper.fail(id, lost)
    late.calls.wake[0]?.resolve(crashed)
    expect(await late.woken).toBe('failed')
    expect(late.replica()).toMatchObject({ state: 'failed', reason: 'NodeLost' })
    expect(late.outcomes).toEqual(['NodeLost'])
  })

  test('that succeeds after its replica failed does not bring it back', async () => {
    const { keeper, calls, replica, woken } = await waking()
    keeper.fail(id, lost)
    calls.wake[0]?.resolve({ kind: 'running' })
    expect(await woken).toBe('failed')
    expect(replica()).toMatchObject({ state: 'failed', rung: 'parked', serving: false })
  })

  test('on a node that is lost is called off and counts as starting no more', async () => {
    const { keeper, calls, signals, replica, setNode, woken } = await waking()
    expect(keeper.waking(id)).toBe(true)
    setNode('down')
    keeper.abandon(node)
    expect(signals.wake?.aborted).toBe(true)
    expect(keeper.waking(id)).toBe(false)
    calls.wake[0]?.resolve({ kind: 'aborted' })
    expect(await woken).toBe('failed')
    expect(replica()).toMatchObject({ state: 'ready', rung: 'parked', serving: false })
  })

  test('that a lost engine did not answer says nothing about the app', async () => {
    const { keeper, calls, replica, outcomes, setNode, woken } = await waking()
    setNode('down')
    keeper.abandon(node)
    calls.wake[0]?.resolve({ kind: 'failed', reason: 'EngineError', message: 'no answer in time' })
    expect(await woken).toBe('failed')
    expect(replica()?.state).toBe('ready')
    expect(outcomes).toEqual([])
  })

  test('is called off when its replica retires', async () => {
    const { keeper, picture, signals } = await waking()
    picture.updateReplica(id, { state: 'draining' })
    keeper.retire(id)
    expect(signals.wake?.aborted).toBe(true)
  })
})

describe('a step down', () => {
  test('is called off by a wake while routers still let go, and the replica is routed again', async () => {
    const { keeper, calls, replica, stepped } = await steppingDown('frozen')
    expect(replica()?.serving).toBe(false)
    expect(await keeper.wake(id)).toBe('running')
    expect(await stepped).toBe('busy')
    expect(replica()).toMatchObject({ rung: 'running', serving: true })
    expect(calls.freeze).toEqual([])
  })

  test('to parked that is under way is hurried by a wake, which starts the app again after it', async () => {
    const { keeper, calls, signals, withdrawals, replica, stepped, settle } = await steppingDown('parked')
    withdrawals[0]?.resolve('withdrawn')
    await settle()
    expect(signals.park?.aborted).toBe(false)
    const woken = keeper.wake(id)
    expect(signals.park?.aborted).toBe(true)
    calls.park[0]?.resolve({ kind: 'done' })
    expect(await stepped).toBe('done')
    await settle()
    calls.wake[0]?.resolve({ kind: 'running' })
    expect(await woken).toBe('running')
    expect(replica()).toMatchObject({ rung: 'running', serving: true })
  })

  test('does not route a replica again whose node went down while it was withdrawn', async () => {
    const { withdrawals, replica, setNode, stepped } = await steppingDown('frozen')
    setNode('down')
    withdrawals[0]?.resolve('busy')
    expect(await stepped).toBe('busy')
    expect(replica()?.serving).toBe(false)
  })

  test('that ends after its replica was lost leaves it failed', async () => {
    const { keeper, calls, withdrawals, replica, stepped, settle, written } = await steppingDown('parked')
    withdrawals[0]?.resolve('withdrawn')
    await settle()
    keeper.fail(id, lost)
    calls.park[0]?.resolve({ kind: 'done' })
    expect(await stepped).toBe('done')
    expect(replica()).toMatchObject({ state: 'failed', rung: 'running' })
    expect(written).toEqual(['failed'])
  })
})

describe('holding the app of a parked replica', () => {
  async function holding() {
    const bench = keeperBench({ rung: 'parked', serving: false })
    const outcome = bench.keeper.hold(id)
    await bench.settle()
    return { ...bench, outcome }
  }
  const held = { kind: 'held', app: 'h' } as const

  test('makes the container that waits the app, and a wake lets go of that', async () => {
    const { keeper, calls, given, outcome, replica, written, settle } = await holding()
    calls.hold[0]?.resolve(held)
    expect(await outcome).toEqual(held)
    expect(replica()).toMatchObject({ rung: 'parked', held: true, containers: { app: 'h' } })
    expect(written).toEqual(['containers'])
    const woken = keeper.wake(id)
    await settle()
    expect(given.wake).toMatchObject([{ rung: 'parked', held: true, containers: { app: 'h' } }])
    calls.wake[0]?.resolve({ kind: 'running' })
    expect(await woken).toBe('running')
    expect(replica()).toMatchObject({ rung: 'running', held: false, serving: true })
  })

  test('is called off by a wake, which starts the app that is there', async () => {
    const { keeper, calls, given, signals, outcome, settle } = await holding()
    const woken = keeper.wake(id)
    expect(signals.hold?.aborted).toBe(true)
    calls.hold[0]?.resolve({ kind: 'called off', cleared: Promise.resolve() })
    await outcome
    await settle()
    expect(given.wake).toMatchObject([{ rung: 'parked', held: false }])
    calls.wake[0]?.resolve({ kind: 'running' })
    expect(await woken).toBe('running')
  })

  test('that is done when a wake comes is made use of', async () => {
    const { keeper, calls, given, settle } = await holding()
    void keeper.wake(id)
    calls.hold[0]?.resolve(held)
    await settle()
    expect(given.wake).toMatchObject([{ held: true }])
  })

  test('is not done to a replica that runs, nor to one that is being woken', async () => {
    const running = keeperBench()
    expect(await running.keeper.hold(id)).toEqual({ kind: 'busy' })
    const { keeper } = await waking()
    expect(await keeper.hold(id)).toEqual({ kind: 'busy' })
  })

  test('ends with the next step: what is parked anew is not held', async () => {
    const { picture, calls, withdrawals, replica, stepped, settle } = await steppingDown('parked')
    picture.updateReplica(id, { held: true })
    withdrawals[0]?.resolve('withdrawn')
    await settle()
    calls.park[0]?.resolve({ kind: 'done' })
    expect(await stepped).toBe('done')
    expect(replica()).toMatchObject({ rung: 'parked', held: false })
  })
})

describe('a retirement', () => {
  test('of a parked replica gives no time to an app that does not run', async () => {
    const { keeper, picture, given, withdrawals, settle } = keeperBench({
      rung: 'parked',
      serving: false,
    })
    picture.updateReplica(id, { state: 'draining' })
    keeper.retire(id)
    withdrawals[0]?.resolve('withdrawn')
    await settle()
    expect(given.stop).toEqual([{ graceSeconds: 0 }])
  })

  /** How long requests may take that are left on a replica which has been draining for so long; 300 s are allowed. */
  async function drainTime(draining: { ms: number; serving: boolean }): Promise<number> {
    const drainingAt = new Date(Date.now() - draining.ms)
    const bench = keeperBench({ state: 'draining', serving: draining.serving, drainingAt })
    bench.keeper.retire(id)
    await bench.settle()
    return Math.ceil((bench.deadlines[0] ?? 0) / 1000)
  }

  test('leaves requests all of their time, counted from when the replica leaves the routes', async () => {
    expect(await drainTime({ ms: 100_000, serving: true })).toBe(300)
  })

  test('goes on with the time of the leader before, and leaves a little of it in any case', async () => {
    expect(await drainTime({ ms: 100_000, serving: false })).toBe(200)
    expect(await drainTime({ ms: 900_000, serving: false })).toBe(10)
  })

  test('ends without a stop when its replica is lost while it drains', async () => {
    const { keeper, calls, withdrawals, replica, settle } = keeperBench({ state: 'draining' })
    keeper.retire(id)
    await settle()
    keeper.fail(id, lost)
    withdrawals[0]?.resolve('withdrawn')
    await settle()
    expect(calls.stop).toEqual([])
    expect(replica()?.state).toBe('failed')
  })

  test('goes on draining when its node is lost', async () => {
    const { keeper, calls, withdrawals, setNode, settle } = keeperBench({ state: 'draining' })
    keeper.retire(id)
    await settle()
    keeper.abandon(node)
    await settle()
    expect(calls.stop).toEqual([])
    setNode('ready')
    withdrawals[0]?.resolve('withdrawn')
    await settle()
    expect(calls.stop).toHaveLength(1)
  })
})

describe('an app that hangs', () => {
  const restarting = { state: 'starting', serving: false, reason: 'LivenessFailed' } as const

  test('is stopped once routers have let go of it, or after a second, and then started again', async () => {
    const { keeper, calls, withdrawals, deadlines, settle } = keeperBench(restarting)
    keeper.halt(id)
    keeper.bringUp(id)
    await settle()
    expect([deadlines, calls.park.length]).toEqual([[1000], 0])
    withdrawals[0]?.resolve('busy')
    await settle()
    expect([calls.park.length, calls.start.length]).toEqual([1, 0])
    calls.park[0]?.resolve({ kind: 'done' })
    await settle()
    keeper.bringUp(id)
    await settle()
    expect(calls.start).toHaveLength(1)
  })

  test('is left to a retirement that came meanwhile', async () => {
    const { keeper, picture, calls, settle } = keeperBench(restarting)
    keeper.halt(id)
    await settle()
    picture.updateReplica(id, { state: 'draining' })
    keeper.retire(id)
    await settle()
    expect([calls.park.length, keeper.busyWith(id)]).toEqual([0, false])
  })

  test('and is given up gently is withdrawn before it is stopped', async () => {
    const { keeper, calls, withdrawals, replica, settle } = keeperBench()
    keeper.fail(id, { reason: 'LivenessFailed', message: 'no answer' }, { gently: true })
    await settle()
    expect(replica()).toMatchObject({ state: 'failed', serving: false, reason: 'LivenessFailed' })
    expect(calls.stop).toHaveLength(0)
    withdrawals[0]?.resolve('withdrawn')
    await settle()
    expect(calls.stop).toHaveLength(1)
  })
})
