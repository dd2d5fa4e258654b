import type { NodeUid, ReplicaId, RevisionUid, ServiceUid, VolumeUid } from '@berth/contracts'
import { describe, expect, test } from 'vitest'
import { aNode, aReplica, aRevision, aService } from './testing/picture.ts'
import { scaleBench } from './testing/scale-bench.ts'
import type { ReplicaView, RevisionView } from './world-model.ts'

const mebibyte = 1024 ** 2
const first = aRevision()
const second = aRevision({ uid: 'rev-2' as RevisionUid, name: 'hello-00002' })
const never = {
  freezeAfterSeconds: 'never',
  parkAfterSeconds: 'never',
  coldAfterSeconds: 'never',
} as const
/** A node that has place for `count` replicas of 64Mi. */
const nodeFor = (count: number) =>
  aNode({ memoryBytes: count * 64 * mebibyte, systemReservedBytes: 0, cpuMillis: 100_000 })

/** Its template takes one request at a time, so that every waiting one wants a replica. */
const onceAtATime = (revision: RevisionView): RevisionView => ({
  ...revision,
  template: { ...revision.template, concurrency: 1 },
})

function replica(id: string, change: Partial<ReplicaView> = {}): ReplicaView {
  const { rung = 'running', state = 'ready' } = change
  return aReplica({
    id: id as ReplicaId,
    serving: rung === 'running' && state === 'ready',
    ...change,
  })
}

const split = [first, second].map(({ name }) => ({ revision: name, percent: 50, tag: null }))

describe('requests that wait', () => {
  test('wake the cheapest rung first and create the rest', async () => {
    const bench = scaleBench({
      services: [aService()],
      revisions: [onceAtATime(first)],
      replicas: [replica('parked', { rung: 'parked' }), replica('frozen', { rung: 'frozen' })],
    })
    bench.demand(first.uid, 1)
    expect(bench.woken).toEqual(['frozen'])
    bench.demand(first.uid, 4)
    expect(bench.woken).toEqual(['frozen', 'parked'])
    await expect.poll(() => bench.started).toHaveLength(2)
    expect(bench.wanted[0]).toMatchObject({ revisionUid: first.uid, maxReplicas: 20 })
  })

  test('start nothing twice while reservations are under way', async () => {
    const bench = scaleBench({ services: [aService()], revisions: [onceAtATime(first)] })
    bench.demand(first.uid, 3)
    bench.demand(first.uid, 5)
    bench.demand(first.uid, 5)
    expect(await bench.reserved()).toHaveLength(3)
    bench.autoscaler.tick()
    expect(await bench.reserved()).toHaveLength(5)
    bench.autoscaler.tick()
    expect(await bench.reserved()).toHaveLength(5)
  })

  test('wake a parked replica whose app is just being held, and start none in its place', async () => {
    const bench = scaleBench({
      services: [aService()],
      revisions: [onceAtATime(first)],
      replicas: [replica('parked', { rung: 'parked' })],
    })
    bench.holding.add('parked')
    bench.demand(first.uid, 1)
    expect(bench.woken).toEqual(['parked'])
    expect(await bench.reserved()).toEqual([])
  })

  test('wake no more parked replicas than fit on their node together', async () => {
    const bench = scaleBench({
      services: [aService()],
      revisions: [onceAtATime(first)],
      replicas: ['a', 'b', 'c'].map((id) => replica(id, { rung: 'parked' })),
      nodes: [nodeFor(2)],
    })
    bench.demand(first.uid, 3)
    expect(bench.woken).toEqual(['a', 'b'])
    expect(await bench.reserved()).toEqual([])
  })

  test('find no place where a parked replica is being woken', async () => {
    const other = aService({ uid: 'svc-2' as ServiceUid, name: 'other', traffic: split.slice(1) })
    const bench = scaleBench({
      services: [aService(), other],
      revisions: [first, { ...second, serviceUid: other.uid }],
      replicas: [replica('a', { rung: 'parked' })],
      nodes: [nodeFor(1)],
    })
    bench.demand(first.uid, 1)
    expect(bench.woken).toEqual(['a'])
    bench.demand(second.uid, 1)
    expect(await bench.reserved()).toEqual([])
    expect(bench.blocked.get(second.uid)).toMatchObject({ reason: 'Unplaceable' })
  })

  test('are told why there is no place, and no longer once nobody waits', () => {
    const bench = scaleBench({ services: [aService()], revisions: [first], nodes: [nodeFor(0)] })
    bench.demand(first.uid, 1)
    expect(bench.blocked.get(first.uid)?.message).toMatch(/none of 1 node fits: 1 node: memory/)
    bench.demand(first.uid, 0)
    expect(bench.blocked.get(first.uid)).toBeNull()
  })

  test('are told that nothing can be reserved without the database', async () => {
    const bench = scaleBench({ services: [aService()], revisions: [first] })
    bench.database.away = true
    bench.demand(first.uid, 1)
    await expect.poll(() => bench.blocked.get(first.uid)?.message).toMatch(/without the database/)
  })

  test('start nothing new while rescheduling is on hold', async () => {
    const bench = scaleBench({ services: [aService()], revisions: [first] })
    bench.signals.held = '2 of 3 nodes were lost within 30 s'
    bench.demand(first.uid, 1)
    expect(await bench.reserved()).toEqual([])
    expect(bench.blocked.get(first.uid)).toMatchObject({ reason: 'NodeLost' })
  })

  test('wait for the back-off after failed starts', async () => {
    const bench = scaleBench({ services: [aService()], revisions: [first] })
    for (let count = 0; count < 3; count += 1)
      bench.failures.failed(first.uid, { reason: 'AppCrashed', message: 'it printed a secret' })
    bench.demand(first.uid, 1)
    expect(await bench.reserved()).toEqual([])
    expect(bench.blocked.get(first.uid)).toMatchObject({ reason: 'AppCrashed' })
    expect(JSON.stringify([...bench.blocked.values()])).not.toContain('secret')
    bench.clock.ms += 60_000
    bench.demand(first.uid, 1)
    expect(bench.blocked.get(first.uid)).toBeNull()
  })

  test('get nothing for a revision that no traffic leads to', async () => {
    const bench = scaleBench({ services: [aService()], revisions: [first, second] })
    bench.demand(second.uid, 1)
    expect(await bench.reserved()).toEqual([])
  })
})

describe('maxScale', () => {
  test('counts what other revisions wake and reserve', async () => {
    const bench = scaleBench({
      services: [aService({ maxScale: 2, traffic: split })],
      revisions: [onceAtATime(first), onceAtATime(second)],
      replicas: [replica('a', { rung: 'parked' })],
    })
    bench.database.holds = new Promise((resolve) => setTimeout(resolve, 50))
    bench.demand(first.uid, 2)
    expect(bench.woken).toEqual(['a'])
    bench.demand(second.uid, 2)
    await expect.poll(() => bench.started).toHaveLength(1)
    expect(bench.wanted.map(({ revisionUid }) => revisionUid)).toEqual([first.uid])
  })

  test('leaves room for what a deployment brings up', () => {
    const parts = {
      services: [aService({ maxScale: 1 })],
      revisions: [first, second],
      replicas: [
        replica('old', { rung: 'frozen' }),
        replica('new', { revisionUid: second.uid, state: 'starting' }),
      ],
    }
    const bench = scaleBench({ ...parts, deploying: true })
    bench.demand(first.uid, 1)
    expect(bench.woken).toEqual(['old'])
    bench.autoscaler.tick()
    expect(bench.steps).toEqual([])
  })

  test('keeps neither revision from serving while traffic moves from one to the other', () => {
    const parts = {
      services: [aService({ maxScale: 1, traffic: split })],
      revisions: [first, second],
      replicas: [replica('old'), replica('new', { revisionUid: second.uid, rung: 'frozen' })],
    }
    const bench = scaleBench({ ...parts, deploying: true })
    bench.demand(second.uid, 1)
    expect(bench.woken).toEqual(['new'])
    bench.autoscaler.tick()
    expect(bench.steps).toEqual([])
  })

  test('that was lowered gives up what is frozen, then what was idle for longest, whatever the ladder has', () => {
    const bench = scaleBench({
      services: [aService({ maxScale: 1, idle: never })],
      revisions: [first],
      replicas: [
        replica('a'),
        replica('b'),
        replica('c', { rung: 'frozen' }),
        replica('d', { rung: 'parked' }),
      ],
    })
    bench.idleMs.set('a', 10).set('b', 500)
    bench.autoscaler.tick()
    expect(bench.steps).toEqual([
      ['c', 'cold'],
      ['b', 'cold'],
    ])
    bench.autoscaler.tick()
    expect(bench.steps).toHaveLength(2)
  })

  test('that was lowered gives up first what no traffic leads to', () => {
    const bench = scaleBench({
      services: [aService({ maxScale: 1 })],
      revisions: [first, second],
      replicas: [replica('serves', { rung: 'frozen' }), replica('old', { revisionUid: second.uid })],
    })
    bench.autoscaler.tick()
    expect(bench.steps).toEqual([['old', 'cold']])
  })

  test('that was lowered gives nothing up while a report is missing', () => {
    const bench = scaleBench({
      services: [aService({ maxScale: 1 })],
      revisions: [first],
      replicas: [replica('a'), replica('b')],
    })
    bench.signals.complete = false
    bench.autoscaler.tick()
    expect(bench.steps).toEqual([])
  })

  test('counts a replica on a node that is drained and the one that takes its place as one', () => {
    const bench = scaleBench({
      services: [aService({ maxScale: 1 })],
      revisions: [first],
      replicas: [replica('old'), replica('new', { state: 'starting', replaces: 'old' as ReplicaId })],
    })
    bench.autoscaler.tick()
    expect(bench.steps).toEqual([])
  })

  test('that was lowered gives up what is on a node that is drained before what is elsewhere', () => {
    const bench = scaleBench({
      services: [aService({ maxScale: 1 })],
      revisions: [first],
      replicas: [replica('stays', { rung: 'frozen' }), replica('goes', { nodeUid: 'nod-2' as NodeUid })],
      nodes: [aNode(), aNode({ uid: 'nod-2' as NodeUid, name: 'n2', scheduling: 'draining' })],
    })
    bench.autoscaler.tick()
    expect(bench.steps).toEqual([['goes', 'cold']])
  })

  test('does not count replicas of a node that is lost', async () => {
    const lost = aNode({ uid: 'nod-2' as NodeUid, name: 'n2', reachability: 'down' })
    const bench = scaleBench({
      services: [aService({ maxScale: 1, traffic: split })],
      revisions: [first, second],
      replicas: [replica('lost', { nodeUid: lost.uid, revisionUid: second.uid, serving: false })],
      nodes: [aNode(), lost],
    })
    bench.demand(first.uid, 1)
    await expect.poll(() => bench.started).toHaveLength(1)
    expect(bench.wanted[0]).toMatchObject({ maxReplicas: 2 })
  })
})

describe('minScale', async () => {
  test('is shared out by traffic and kept without requests', async () => {
    const traffic = [
      { revision: first.name, percent: 80, tag: null },
      { revision: second.name, percent: 20, tag: null },
    ]
    const bench = scaleBench({ services: [aService({ minScale: 3, traffic })], revisions: [first, second] })
    bench.autoscaler.tick()
    await expect.poll(() => bench.started).toHaveLength(3)
    const wanted = bench.wanted.map(({ revisionUid }) => revisionUid).toSorted()
    expect(wanted).toEqual([first.uid, first.uid, second.uid])
  })

  test('that cannot be placed is told to the owner until a replica serves', () => {
    const bench = scaleBench({
      services: [aService({ minScale: 1 })],
      revisions: [first],
      nodes: [nodeFor(0)],
    })
    bench.autoscaler.tick()
    expect(bench.told).toMatchObject([[first.uid, { reason: 'Unplaceable' }]])
    expect(bench.blocked.get(first.uid)).toBeNull()
    const { serving: _serving, ...row } = replica('a')
    bench.picture.addReplica({ ...row, failedAt: null })
    bench.picture.updateReplica('a' as ReplicaId, { serving: true })
    bench.autoscaler.tick()
    expect(bench.told.at(-1)).toEqual([first.uid, null])
  })

  test('that is wanted no more takes the owner’s message with it', () => {
    const failure = { reason: 'Unplaceable', message: 'none of 1 node fits' }
    const bench = scaleBench({ services: [aService()], revisions: [{ ...first, failure }] })
    bench.autoscaler.tick()
    expect(bench.told).toEqual([[first.uid, null]])
  })
})

describe('a replica that is not ready', () => {
  const unready = replica('a', { reason: 'ProbeFailed', message: 'status 503' })

  test('is waited for, and no other one is started in its place', async () => {
    const bench = scaleBench({
      services: [aService({ minScale: 1 })],
      revisions: [onceAtATime(first)],
      replicas: [unready],
    })
    bench.demand(first.uid, 1)
    bench.autoscaler.tick()
    expect(await bench.reserved()).toEqual([])
    expect(bench.blocked.get(first.uid) ?? null).toBeNull()
  })

  test('is the reason of its revision until one serves', () => {
    const bench = scaleBench({ services: [aService()], revisions: [first], replicas: [unready] })
    bench.autoscaler.tick()
    expect(bench.told).toEqual([[first.uid, { reason: 'ProbeFailed', message: 'status 503' }]])
    bench.picture.updateReplica(unready.id, { reason: null, message: null })
    bench.autoscaler.tick()
    expect(bench.told.at(-1)).toEqual([first.uid, null])
  })
})

describe('a replica whose app is restarted', () => {
  test.each([
    [2, []],
    [3, [[first.uid, { reason: 'LivenessFailed', message: 'no answer' }]]],
  ])('for the time number %i is the reason of its revision: %j', (restarts, told) => {
    const why = { reason: 'LivenessFailed', message: 'no answer' } as const
    const restarting = replica('a', { state: 'starting', serving: false, restarts, ...why })
    const bench = scaleBench({ services: [aService()], revisions: [first], replicas: [restarting] })
    bench.autoscaler.tick()
    expect(bench.told).toEqual(told)
  })
})

describe('starts that fail again and again', () => {
  test('are told to the owner with what the app printed, and a new leader keeps that', () => {
    const bench = scaleBench({ services: [aService()], revisions: [first] })
    const crash = { reason: 'AppCrashed', message: 'exit code 1' } as const
    for (let count = 0; count < 3; count += 1) bench.failures.failed(first.uid, crash)
    bench.autoscaler.tick()
    expect(bench.told).toEqual([[first.uid, crash]])

    const next = scaleBench({ services: [aService()], revisions: [{ ...first, failure: crash }] })
    next.autoscaler.tick()
    expect(next.told).toEqual([])
  })
})

describe('volumes', () => {
  const mounting = (revision: RevisionView): RevisionView => {
    const [app] = revision.template.containers
    const volumes = [{ name: 'data', mountPath: '/data' }]
    return { ...revision, template: { ...revision.template, containers: app ? [{ ...app, volumes }] : [] } }
  }
  const volumes = [{ uid: 'vol-1' as VolumeUid, name: 'data', nodeUid: 'nod-2' as NodeUid, made: true }]
  const service = aService({ maxScale: 1, volumes })

  test('are held by one replica: no other revision gets one beside it, nor a wake', () => {
    const bench = scaleBench({
      services: [service],
      revisions: [mounting(first), mounting(second)],
      replicas: [
        replica('starts', { state: 'starting', revisionUid: second.uid }),
        replica('sleeps', { rung: 'parked' }),
      ],
      deploying: true,
    })
    bench.demand(first.uid, 5)
    expect([bench.wanted, bench.woken]).toEqual([[], []])
  })

  test('decide about the node, and say so where that has no place', async () => {
    const nodes = [aNode(), aNode({ uid: 'nod-2' as NodeUid, name: 'n2' })]
    const bench = scaleBench({ services: [service], revisions: [mounting(first)], nodes })
    bench.demand(first.uid, 1)
    await expect.poll(() => bench.wanted).toMatchObject([{ nodeUid: 'nod-2' }])
    const down = scaleBench({ services: [service], revisions: [mounting(first)], nodes: [aNode()] })
    down.demand(first.uid, 1)
    await expect
      .poll(() => down.blocked.get(first.uid)?.message)
      .toBe('none of 1 node fits: 1 node: volume "data" is on a node that was removed')
  })
})
