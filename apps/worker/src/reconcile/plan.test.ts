import type { DeploymentId, NodeUid, VolumeUid } from '@berth/contracts'
import { describe, expect, test } from 'vitest'
import type { ServiceMemory } from './action.ts'
import { plan } from './plan.ts'
import {
  aDeployment,
  aFailure,
  aNode,
  aReplica,
  aRevision,
  aService,
  aSnapshot,
  readAtMs,
  revisionName,
  revisionUid,
  serving,
} from './testing/snapshot-builders.ts'

const planNow = (snapshot: ReturnType<typeof aSnapshot>, memory: ServiceMemory = {}) =>
  plan(snapshot, memory, readAtMs)
const kinds = (...args: Parameters<typeof planNow>) => planNow(...args).map(({ kind }) => kind)
const at = (ms: number) => new Date(readAtMs + ms)
const queued = aDeployment(1, { revisionUid: null, revisionName: null, phase: 'queued' })
const image = { repository: 'r/hello', digest: 'sha256:1', architectures: ['amd64'], contentHash: 'hash-1' }
const resolved: ServiceMemory = {
  image: { deployment: 'dep-1' as DeploymentId, generation: 1, kind: 'resolved', image },
}
function failedToResolve(attempts: number, failedAgoMs = 0, reason = 'RegistryUnreachable' as const) {
  const about = { deployment: 'dep-1' as DeploymentId, generation: 1, kind: 'failed' as const }
  return { image: { ...about, attempts, reason, message: 'down', failedAtMs: readAtMs - failedAgoMs } }
}

function mounting(revision: ReturnType<typeof aRevision>) {
  const [app] = revision.template.containers
  const volumes = [{ name: 'data', mountPath: '/data' }]
  return { ...revision, template: { ...revision.template, containers: app ? [{ ...app, volumes }] : [] } }
}

/** Revision 1 serves with the given replicas, deployment 2 is under way. */
function rollingOut(
  replicas = [aReplica('a', 1)],
  change: Partial<ReturnType<typeof aSnapshot>> = {},
  deployment = aDeployment(2),
) {
  const before = serving(1)
  return serving(1, {
    open: [deployment],
    revisions: [...before.revisions, aRevision(2)],
    replicas,
    ...change,
  })
}

describe('the image', () => {
  test('is resolved first', () => {
    expect(planNow(aSnapshot({ open: [queued] }))).toEqual([
      { kind: 'resolve-image', deployment: 'dep-1', attempt: 1 },
    ])
  })
  test('is asked for again after the back-off', () => {
    expect(planNow(aSnapshot({ open: [queued] }), failedToResolve(2, 2000))).toEqual([
      { kind: 'resolve-image', deployment: 'dep-1', attempt: 3 },
    ])
    expect(kinds(aSnapshot({ open: [queued] }), failedToResolve(2, 1999))).toContain('wait')
  })
  test('is waited for while a registry is asked, and what it says is told once', () => {
    const asking: ServiceMemory = { image: { deployment: queued.id, generation: 1, kind: 'asking' } }
    expect(kinds(aSnapshot({ open: [queued] }), asking)).toEqual(['set-condition', 'wait'])
    expect(planNow(aSnapshot({ open: [queued] }), failedToResolve(2, 1999))).toMatchObject([
      { kind: 'report-trouble', reason: 'RegistryUnreachable', message: 'down' },
      { kind: 'wait' },
    ])
    const told = { ...queued, reason: 'RegistryUnreachable', message: 'down' }
    expect(kinds(aSnapshot({ open: [told] }), failedToResolve(2, 1999))).not.toContain('report-trouble')
  })
  test('that cannot be resolved in five attempts fails the deployment', () => {
    expect(planNow(aSnapshot({ open: [queued] }), failedToResolve(5, 60_000))).toMatchObject([
      { kind: 'finish-deployment', phase: 'failed', reason: 'RegistryUnreachable', message: 'down' },
    ])
  })
  test('of another generation of the service is not used', () => {
    const snapshot = aSnapshot({ open: [queued], service: aService({ generation: 2 }) })
    expect(kinds(snapshot, resolved)).toEqual(['resolve-image'])
  })
  test('and a new template make a revision', () => {
    expect(kinds(aSnapshot({ open: [queued] }), resolved)).toEqual(['make-revision'])
  })
  test.each([
    ['contentHash', { contentHash: 'other' }],
    ['digest', { imageDigest: 'sha256:other' }],
  ])('with another %s than the newest makes a revision', (_what, change) => {
    expect(kinds(aSnapshot({ open: [queued], revisions: [aRevision(1, change)] }), resolved)).toEqual([
      'make-revision',
    ])
  })
  test('and template of the newest revision make none', () => {
    expect(planNow(aSnapshot({ open: [queued], revisions: [aRevision(1)] }), resolved)).toMatchObject([
      { kind: 'reuse-revision', revision: { uid: 'rev-1', name: 'hello-00001' } },
    ])
  })
})

describe('a revision that the user names', () => {
  const named = { ...queued, revisionSuffix: 'blue' }
  const before = [aRevision(1, { contentHash: 'other' }), aRevision(2)]

  test('is made under that name, whatever the newest one holds', () => {
    expect(planNow(aSnapshot({ open: [named], revisions: [aRevision(1)] }), resolved)).toEqual([
      { kind: 'make-revision', deployment: 'dep-1', image, suffix: 'blue' },
    ])
  })
  test('is the one of that name when image and template are the same', () => {
    const blue = aRevision(1, { name: 'hello-blue' })
    const revisions = [blue, aRevision(2, { contentHash: 'other' })]
    expect(planNow(aSnapshot({ open: [named], revisions }), resolved)).toMatchObject([
      { kind: 'reuse-revision', revision: { uid: 'rev-1', name: 'hello-blue' } },
    ])
  })
  test.each([
    ['image', { imageDigest: 'sha256:other' }],
    ['template or environment', { contentHash: 'other' }],
  ])('and is there with another %s fails the deployment', (what, change) => {
    const revisions = [
      ...before,
      aRevision(3, { name: 'hello-blue', contentHash: 'hash-1', imageDigest: 'sha256:1', ...change }),
    ]
    expect(planNow(aSnapshot({ open: [named], revisions }), resolved)).toEqual([
      {
        kind: 'finish-deployment',
        deployment: 'dep-1',
        phase: 'failed',
        reason: 'RevisionExists',
        message: `hello-blue is there already with another ${what}`,
      },
    ])
  })
})

describe('the first replicas', () => {
  test('of a service without traffic are exactly one', () => {
    const snapshot = aSnapshot({ open: [aDeployment(1)], revisions: [aRevision(1)] })
    expect(planNow(snapshot)).toMatchObject([
      { kind: 'place-replicas', nodes: [{ uid: 'nod-n1', name: 'n1' }], atMost: 25 },
    ])
  })
  test('are as many as serve now, the ones on lower rungs left out', () => {
    const replicas = [
      aReplica('a', 1),
      aReplica('b', 1),
      aReplica('c', 1, { rung: 'frozen' }),
      aReplica('d', 1, { state: 'draining' }),
    ]
    const [action] = planNow(rollingOut(replicas))
    expect(action).toMatchObject({ kind: 'place-replicas', revision: { uid: 'rev-2' } })
    expect(action?.kind === 'place-replicas' && action.nodes).toHaveLength(2)
  })
  test('stay within maxScale and its surge', () => {
    const replicas = ['a', 'b', 'c', 'd'].map((id) => aReplica(id, 1))
    const [action] = planNow(rollingOut(replicas, { service: aService({ maxScale: 4 }) }))
    expect(action).toMatchObject({ kind: 'place-replicas', atMost: 5 })
    expect(action?.kind === 'place-replicas' && action.nodes).toHaveLength(1)
  })
  test('are waited for', () => {
    const starting = aReplica('b', 2, { state: 'starting', readyAt: null })
    expect(kinds(rollingOut([aReplica('a', 1), starting]))).toEqual(['set-condition', 'wait'])
  })
  test('go to another node after a failure', () => {
    const snapshot = rollingOut([aFailure('b', 2, 5_000)], {
      nodes: [aNode('n1'), aNode('n2', { reserved: { cpuMillis: 0, memoryBytes: 2048 * 1024 ** 2 } })],
    })
    expect(planNow(snapshot)).toMatchObject([{ kind: 'place-replicas', nodes: [{ name: 'n2' }] }])
  })
  test('come back to the only node there is', () => {
    expect(planNow(rollingOut([aFailure('b', 2, 5_000)]))).toMatchObject([
      { kind: 'place-replicas', nodes: [{ name: 'n1' }] },
    ])
  })
  test('wait for the back-off after a failure', () => {
    expect(planNow(rollingOut([aFailure('b', 2, 999)]))).toContainEqual({
      kind: 'wait',
      reason: 'the back-off after a failed start',
      untilMs: readAtMs + 1,
    })
  })
  test('go where their volume is, and nowhere else', () => {
    const nodes = [aNode('n1'), aNode('n2')]
    const volumes = [{ uid: 'vol-1' as VolumeUid, name: 'data', nodeUid: 'nod-n2' as NodeUid, made: true }]
    const revisions = [aRevision(1), mounting(aRevision(2))]
    const change = { nodes, volumes, revisions }
    expect(planNow(rollingOut([aReplica('a', 1)], change))).toMatchObject([
      { kind: 'place-replicas', nodes: [{ name: 'n2' }] },
    ])
    const lost = { ...change, nodes: [aNode('n1'), aNode('n2', { reachability: 'down' })] }
    expect(planNow(rollingOut([aReplica('a', 1)], lost))).toContainEqual(
      expect.objectContaining({
        kind: 'report-trouble',
        message: 'none of 2 nodes fits: 1 node: down; 1 node: volume "data" is on n2',
      }),
    )
  })
  test('that fit nowhere are told with counts, once', () => {
    const full = [aNode('n1', { reachability: 'down' }), aNode('n2', { scheduling: 'cordoned' })]
    const first = planNow(rollingOut([], { nodes: full }))
    const trouble = {
      reason: 'Unplaceable',
      message: 'none of 2 nodes fits: 1 node: down; 1 node: cordoned',
    } as const
    expect(first).toContainEqual({ kind: 'report-trouble', deployment: 'dep-2', ...trouble })
    expect(kinds(rollingOut([], { nodes: full }, aDeployment(2, trouble)))).toEqual(['set-condition', 'wait'])
  })
  test('shift with fewer when the rest fits nowhere', () => {
    const replicas = [aReplica('a', 1), aReplica('b', 1), aReplica('c', 2)]
    expect(kinds(rollingOut(replicas, { nodes: [aNode('n1', { scheduling: 'cordoned' })] }))).toEqual([
      'shift-traffic',
    ])
  })
})

describe('a deployment fails', () => {
  test('when its image is for another processor', () => {
    const snapshot = rollingOut([])
    const revisions = [aRevision(1), aRevision(2, { architectures: ['arm64'] })]
    expect(planNow({ ...snapshot, revisions })).toMatchObject([
      { kind: 'finish-deployment', phase: 'failed', reason: 'ArchitectureMismatch' },
    ])
  })
  test('at a terminal reason of a start', () => {
    expect(planNow(rollingOut([aFailure('b', 2, 5_000, 'ImageNotFound')]))).toMatchObject([
      {
        kind: 'finish-deployment',
        phase: 'failed',
        reason: 'ImageNotFound',
        message: 'ImageNotFound it was',
      },
    ])
  })
  test('after three crashes in a row', () => {
    const reasons = ['LivenessFailed', 'AppCrashed', 'OutOfMemory']
    const crashes = reasons.map((reason, index) => aFailure(`f${index}`, 2, (3 - index) * 100, reason))
    expect(planNow(rollingOut(crashes))).toMatchObject([
      { kind: 'finish-deployment', phase: 'failed', reason: 'OutOfMemory' },
    ])
    expect(kinds(rollingOut(crashes.slice(1)))).not.toContain('finish-deployment')
  })
  test('after one crash where volumes were taken from what serves', () => {
    const crash = aFailure('f', 2, 100, 'AppCrashed')
    expect(kinds(rollingOut([crash]))).not.toContain('finish-deployment')
    const revisions = [aRevision(1), mounting(aRevision(2))]
    expect(planNow(rollingOut([crash], { revisions }))).toMatchObject([
      { kind: 'finish-deployment', phase: 'failed', reason: 'AppCrashed' },
    ])
  })
  test('but not after three failures of nodes', () => {
    const lost = [3, 2, 1].map((n) => aFailure(`f${n}`, 2, n * 100, 'NodeLost'))
    expect(kinds(rollingOut(lost))).not.toContain('finish-deployment')
  })
  test('at its deadline with the last reason', () => {
    const late = aDeployment(2, { workedOnSince: at(-300_000) })
    expect(planNow(rollingOut([aFailure('b', 2, 5_000, 'NotListening')], {}, late))).toMatchObject([
      { kind: 'finish-deployment', phase: 'failed', reason: 'NotListening' },
    ])
    expect(planNow(rollingOut([], {}, late))).toMatchObject([
      { kind: 'finish-deployment', phase: 'failed', reason: 'DeadlineExceeded' },
    ])
    expect(kinds(rollingOut([], {}, aDeployment(2, { workedOnSince: at(-299_999) })))).not.toContain(
      'finish-deployment',
    )
  })
  test('never once the traffic has been shifted', () => {
    const late = aDeployment(2, { phase: 'shifting', workedOnSince: at(-900_000), cancelRequestedAt: at(0) })
    const shifted = rollingOut([aReplica('a', 1), aReplica('b', 2)], {}, late)
    const status = { ...shifted.status, latestReadyRevision: revisionName(2) }
    status.traffic = [{ revision: revisionName(2), percent: 100, tag: null }]
    expect(kinds({ ...shifted, status })).toEqual(['set-condition', 'wait'])
  })
})

describe('the shift', () => {
  const shifting = (acknowledged: number) => {
    const snapshot = rollingOut(
      [aReplica('a', 1), aReplica('b', 2)],
      { acknowledged: [{ revision: revisionUid(acknowledged), percent: 100 }] },
      aDeployment(2, { phase: 'shifting' }),
    )
    const traffic = [{ revision: revisionName(2), percent: 100, tag: null }]
    const revisions = snapshot.revisions.map((revision) => ({ ...revision, readyAt: at(-1_000) }))
    return {
      ...snapshot,
      revisions,
      status: { ...snapshot.status, latestReadyRevision: revisionName(2), traffic },
    }
  }
  test('comes when enough are ready', () => {
    expect(planNow(rollingOut([aReplica('a', 1), aReplica('b', 2)]))).toEqual([
      {
        kind: 'shift-traffic',
        traffic: [{ revision: 'hello-00002', percent: 100, tag: null }],
        deployment: {
          id: 'dep-2',
          message: 'routing hello-00002, 1 replica ready',
          rollout: {
            previous: 'hello-00001',
            percent: 100,
            startedAt: at(0).toISOString(),
            shiftedAt: at(0).toISOString(),
            acknowledgedAt: null,
          },
        },
        ready: { uid: 'rev-2', name: 'hello-00002', latest: true },
      },
    ])
  })
  test('is over when every router has acknowledged, and then the old replicas retire', () => {
    expect(planNow(shifting(1)).map(({ kind }) => kind)).toEqual(['set-condition', 'wait'])
    expect(planNow(shifting(2))).toMatchObject([
      { kind: 'finish-deployment', phase: 'succeeded' },
      { kind: 'retire-replicas', replicas: ['a'] },
    ])
  })
})

describe('cancelling, superseding, failing', () => {
  test('a cancelled deployment ends', () => {
    const cancelled = aDeployment(2, { cancelRequestedAt: at(0) })
    expect(planNow(rollingOut([], {}, cancelled))).toMatchObject([
      { kind: 'finish-deployment', phase: 'cancelled', reason: 'Cancelled' },
    ])
  })
  test('only the newest deployment happens', () => {
    const snapshot = rollingOut([aReplica('a', 1)])
    const open = [aDeployment(2), aDeployment(3, { revisionUid: null, phase: 'queued' })]
    expect(planNow({ ...snapshot, open })).toMatchObject([
      { kind: 'finish-deployment', deployment: 'dep-2', phase: 'superseded' },
      { kind: 'resolve-image', deployment: 'dep-3' },
    ])
  })
  test('replicas of a deployment that has ended retire, what serves stays', () => {
    const lastFinished = aDeployment(2, { phase: 'failed', reason: 'AppCrashed', message: 'exit 1' })
    const snapshot = rollingOut([aReplica('a', 1), aReplica('b', 2), aFailure('c', 2, 500)])
    expect(planNow({ ...snapshot, open: [], lastFinished })).toEqual([
      { kind: 'retire-replicas', replicas: ['b'] },
    ])
  })
  test('the condition says that the old revision serves and why the new one does not', () => {
    const lastFinished = aDeployment(2, { phase: 'failed', reason: 'AppCrashed', message: 'exit 1' })
    expect(planNow({ ...rollingOut(), open: [], lastFinished })).toMatchObject([
      {
        kind: 'set-condition',
        ready: {
          status: 'True',
          reason: 'Serving',
          message: 'hello-00001 serves; the last deployment of hello-00002 failed (AppCrashed): exit 1',
        },
      },
    ])
  })
  test('the condition is False while what is routed has no replica although it should', () => {
    const failure = { reason: 'AppCrashed', message: 'exit 1' }
    const ready = { readyAt: at(-60_000) }
    expect(planNow(serving(1, { revisions: [aRevision(1, { ...ready, failure })] }))).toMatchObject([
      { kind: 'set-condition', ready: { status: 'False', ...failure } },
    ])
    const other = serving(1, { revisions: [aRevision(1, ready), aRevision(2, { failure })], replicas: [] })
    expect(planNow(other)).toMatchObject([{ kind: 'set-condition', ready: { status: 'True' } }])
  })
  test('the condition is False with the reason when nothing serves', () => {
    const lastFinished = aDeployment(1, { phase: 'failed', reason: 'ImageNotFound', message: 'push it' })
    expect(planNow(aSnapshot({ lastFinished }))).toMatchObject([
      {
        kind: 'set-condition',
        ready: { status: 'False', reason: 'ImageNotFound', message: 'push it' },
      },
    ])
  })
})

describe('traffic without a deployment', () => {
  const both = [aRevision(1, { readyAt: at(-9_000) }), aRevision(2, { readyAt: at(-5_000) })]
  test('follows a split, pins and tags', () => {
    const traffic = [
      { revision: 'latest', percent: 90, tag: null },
      { revision: revisionName(1), percent: 10, tag: 'old' },
    ]
    expect(planNow(serving(2, { service: aService({ traffic }), revisions: both }))).toMatchObject([
      {
        kind: 'shift-traffic',
        deployment: null,
        traffic: [
          { revision: 'hello-00002', percent: 90 },
          { revision: 'hello-00001', percent: 10, tag: 'old' },
        ],
      },
    ])
  })
  test('goes to the pin of a rollback at once', () => {
    const service = aService({ pinnedRevision: revisionName(1) })
    expect(planNow(serving(2, { service, revisions: both }))).toMatchObject([
      { kind: 'shift-traffic', traffic: [{ revision: 'hello-00001', percent: 100, tag: null }] },
    ])
  })
  test('a rollback with minScale starts replicas before it shifts', () => {
    const service = aService({ pinnedRevision: revisionName(1), minScale: 1 })
    const open = [aDeployment(3, { trigger: 'rollback', revisionUid: revisionUid(1) })]
    expect(kinds(serving(2, { service, revisions: both, open }))).toEqual(['place-replicas'])
  })
  test.each(['failed', 'cancelled'] as const)(
    'stays where a rollback put it when the next deployment has %s',
    (phase) => {
      const revisions = [...both, aRevision(3)]
      const lastFinished = aDeployment(3, { phase })
      const before = serving(1, { revisions, lastFinished })
      const status = { ...before.status, latestReadyRevision: revisionName(2) }
      expect(kinds({ ...before, status })).toEqual(['set-condition'])
    },
  )
})

describe('a deletion', () => {
  const service = aService({ deletedAt: at(0) })
  test('ends deployments, takes the routes and retires all', () => {
    expect(kinds({ ...rollingOut(), service })).toEqual([
      'finish-deployment',
      'shift-traffic',
      'retire-replicas',
    ])
  })
  test('waits for draining replicas and for the routers', () => {
    const draining = serving(1, { service, replicas: [aReplica('a', 1, { state: 'draining' })] })
    const unrouted = { ...draining, status: { ...draining.status, traffic: [] } }
    expect(kinds(unrouted)).toEqual(['set-condition', 'wait'])
    expect(kinds({ ...unrouted, replicas: [] })).toEqual(['set-condition', 'wait'])
    expect(kinds({ ...unrouted, replicas: [], acknowledged: [] })).toEqual(['delete-service'])
  })
  test('leaves the leader time to clear up after failed replicas', () => {
    const { status } = aSnapshot()
    const after = (ms: number) =>
      serving(1, { service, status, acknowledged: [], replicas: [aFailure('f', 1, ms)] })
    expect(kinds(after(4_999))).toEqual(['set-condition', 'wait'])
    expect(kinds(after(5_000))).toEqual(['delete-service'])
  })
})
