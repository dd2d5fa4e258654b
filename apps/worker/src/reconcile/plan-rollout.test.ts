import type { RolloutProgress, RolloutSettings } from '@berth/contracts'
import type { DeploymentFacts, ReconcileSnapshot } from '@berth/db'
import { describe, expect, test } from 'vitest'
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

const [old, next] = [revisionName(1), revisionName(2)]
const at = (ms: number) => new Date(readAtMs + ms)
const planNow = (snapshot: ReconcileSnapshot) => plan(snapshot, {}, readAtMs)
const target = (revision: string, percent: number, tag: string | null = null) => ({ revision, percent, tag })
const gradual: RolloutSettings = { strategy: 'gradual', steps: [10, 50], intervalSeconds: 30 }

/** Deployment 2 is ready to shift: revision 1 serves with one replica, revision 2 has one too. */
function ready(rollout: RolloutSettings = gradual, deployment: Partial<DeploymentFacts> = {}) {
  const before = serving(1)
  return serving(1, {
    service: aService({ rollout }),
    open: [aDeployment(2, deployment)],
    revisions: [...before.revisions, aRevision(2)],
    replicas: [aReplica('a', 1), aReplica('b', 2)],
  })
}

/** Deployment 2 has `percent` of the traffic, acknowledged so many milliseconds ago. */
function rollingOut(
  change: Partial<DeploymentFacts> = {},
  progress: Partial<RolloutProgress> = {},
  { routers = true, rollout = gradual }: { routers?: boolean; rollout?: RolloutSettings } = {},
): ReconcileSnapshot {
  const percent = progress.percent ?? 10
  const state = {
    previous: old,
    percent,
    startedAt: at(-40_000).toISOString(),
    shiftedAt: at(-20_000).toISOString(),
    acknowledgedAt: at(-10_000).toISOString(),
    ...progress,
  }
  const snapshot = ready(rollout, { phase: 'shifting', rollout: state, ...change })
  const traffic = [target(old, 100 - percent), target(next, percent)].filter((share) => share.percent > 0)
  const acknowledged = [
    { revision: revisionUid(1), percent: 100 - percent },
    { revision: revisionUid(2), percent },
  ]
  return {
    ...snapshot,
    revisions: snapshot.revisions.map((revision) => ({ ...revision, readyAt: at(-20_000) })),
    status: { ...snapshot.status, traffic },
    acknowledged: routers ? acknowledged : [{ revision: revisionUid(1), percent: 100 }],
  }
}

describe('a gradual rollout', () => {
  test('begins with its first step, once a replica is ready', () => {
    expect(planNow(ready())).toMatchObject([
      {
        kind: 'shift-traffic',
        traffic: [target(old, 90), target(next, 10)],
        deployment: {
          message: 'routing 10 % to hello-00002, 1 replica ready',
          rollout: { previous: old, percent: 10, shiftedAt: at(0).toISOString(), acknowledgedAt: null },
        },
        ready: { latest: false },
      },
    ])
  })
  test('needs only the replicas of its first step for that', () => {
    const replicas = ['a', 'b', 'c', 'd'].map((id) => aReplica(id, 1))
    expect(planNow({ ...ready(), replicas: [...replicas, aReplica('e', 2)] })).toMatchObject([
      { kind: 'shift-traffic' },
    ])
  })
  test('leaves pins alone', () => {
    const traffic = [target(old, 40, 'old'), target('latest', 60)]
    const snapshot = ready()
    snapshot.service.traffic = traffic
    snapshot.status.traffic = [target(old, 40, 'old'), target(old, 60)]
    expect(planNow(snapshot)).toMatchObject([
      { kind: 'shift-traffic', traffic: [target(old, 40, 'old'), target(old, 54), target(next, 6)] },
    ])
  })
  test('is all at once where nothing served before', () => {
    const snapshot = aSnapshot({
      service: aService({ rollout: gradual }),
      open: [aDeployment(1)],
      revisions: [aRevision(1)],
      replicas: [aReplica('a', 1)],
    })
    expect(planNow(snapshot)).toMatchObject([{ kind: 'shift-traffic', traffic: [target(old, 100)] }])
  })
  test('waits for every router before its interval counts', () => {
    expect(planNow(rollingOut({}, { acknowledgedAt: null }, { routers: false }))).toMatchObject([
      { kind: 'set-condition' },
      { kind: 'wait', reason: 'every router to acknowledge the step' },
    ])
    expect(planNow(rollingOut({}, { acknowledgedAt: null }))).toMatchObject([
      {
        kind: 'note-rollout',
        rollout: { percent: 10, acknowledgedAt: at(0).toISOString() },
        message: 'every router sends 10 % to hello-00002',
      },
    ])
  })
  test('waits for its interval, and then takes the next step', () => {
    expect(planNow(rollingOut())).toContainEqual({
      kind: 'wait',
      reason: 'the step to 50 %',
      untilMs: readAtMs + 20_000,
    })
    expect(planNow(rollingOut({}, { acknowledgedAt: at(-30_000).toISOString() }))).toMatchObject([
      { kind: 'shift-traffic', traffic: [target(old, 50), target(next, 50)] },
    ])
  })
  test('starts what the next step needs before it takes it', () => {
    const due = rollingOut({}, { acknowledgedAt: at(-30_000).toISOString() })
    const replicas = [...['a', 'c', 'd'].map((id) => aReplica(id, 1)), aReplica('b', 2)]
    expect(planNow({ ...due, replicas })).toMatchObject([
      { kind: 'place-replicas', revision: { name: next }, nodes: [{ name: 'n1' }] },
    ])
    const full = { ...due, replicas, nodes: [aNode('n1', { scheduling: 'cordoned' })] }
    expect(planNow(full), 'and takes it with fewer where there is no place').toMatchObject([
      { kind: 'shift-traffic' },
    ])
  })
  test('makes latest mean the new revision with its last step', () => {
    const due = rollingOut({}, { percent: 50, acknowledgedAt: at(-30_000).toISOString() })
    expect(planNow(due)).toMatchObject([
      { kind: 'shift-traffic', traffic: [target(next, 100)], ready: { name: next, latest: true } },
    ])
  })
  test('outlives the deadline of its start', () => {
    const late = rollingOut({ workedOnSince: at(-900_000) })
    expect(planNow(late).map(({ kind }) => kind)).toEqual(['set-condition', 'wait'])
  })
  test('does not keep a node from being drained', () => {
    const nodes = [aNode('n1', { scheduling: 'draining' }), aNode('n2')]
    expect(planNow({ ...rollingOut(), nodes }).map(({ kind }) => kind)).toContain('replace-replicas')
  })
  test('takes its traffic back when what a step needs does not start', () => {
    const due = rollingOut({}, { acknowledgedAt: at(-30_000).toISOString() })
    const failure = aFailure('f', 2, 100, 'ImageNotFound')
    expect(planNow({ ...due, replicas: [aReplica('a', 1), failure] })).toMatchObject([
      {
        kind: 'take-traffic-back',
        back: { traffic: [target(old, 100)] },
        end: {
          phase: 'failed',
          reason: 'ImageNotFound',
          message: 'at 10 % of the traffic, which hello-00001 has back: ImageNotFound it was',
        },
      },
    ])
  })
})

describe('a person', () => {
  test('who pauses keeps the step where it is', () => {
    expect(
      planNow(rollingOut({ pausedAt: at(0) }, { acknowledgedAt: at(-90_000).toISOString() })),
    ).toMatchObject([
      { kind: 'set-condition' },
      { kind: 'wait', reason: 'somebody to promote the deployment' },
    ])
  })
  test('who promotes gets the next step, or the percent asked for, at once', () => {
    const share = (snapshot: ReconcileSnapshot) => planNow(snapshot)[0]
    expect(share(rollingOut({ promoteFrom: 10 }))).toMatchObject({
      traffic: [target(old, 50), target(next, 50)],
    })
    expect(share(rollingOut({ promoteTo: 99 }))).toMatchObject({
      traffic: [target(old, 1), target(next, 99)],
    })
  })
  test.each([
    ['aborts', { abortRequestedAt: at(0) }, 'RolloutAborted'],
    ['cancels', { cancelRequestedAt: at(0) }, 'Cancelled'],
  ] as const)('who %s gets back what served before', (_verb, wish, reason) => {
    expect(planNow(rollingOut(wish))).toMatchObject([
      {
        kind: 'take-traffic-back',
        back: { traffic: [target(old, 100)], latest: old },
        end: { phase: 'cancelled', reason },
      },
    ])
    expect(planNow(ready(gradual, wish))).toMatchObject([
      { kind: 'finish-deployment', phase: 'cancelled', reason },
    ])
  })
  test('who rolls back ends the rollout', () => {
    const snapshot = rollingOut()
    snapshot.service.pinnedRevision = old
    expect(planNow(snapshot)).toContainEqual({
      kind: 'take-traffic-back',
      deployment: 'dep-2',
      back: { traffic: [target(old, 100)], latest: old },
      end: {
        phase: 'cancelled',
        reason: 'RolloutAborted',
        message:
          'at 10 % of the traffic, which hello-00001 has back: all traffic was rolled back to hello-00001',
      },
    })
  })
  test('who changes the strategy on the way changes what is left of it', () => {
    expect(planNow(rollingOut({}, {}, { rollout: { strategy: 'immediate' } }))).toMatchObject([
      { kind: 'shift-traffic', traffic: [target(next, 100)] },
    ])
  })
})

describe('a manual rollout', () => {
  const manual: RolloutSettings = { strategy: 'manual' }
  const waiting = { percent: 0, acknowledgedAt: null }

  test('is ready and waits without traffic', () => {
    expect(planNow(ready(manual))).toMatchObject([
      {
        kind: 'shift-traffic',
        traffic: [target(old, 100)],
        deployment: {
          message: 'hello-00002 gets no traffic until it is promoted, 1 replica ready',
          rollout: { previous: old, percent: 0 },
        },
      },
    ])
    expect(planNow(rollingOut({ workedOnSince: at(-900_000) }, waiting, { rollout: manual }))).toMatchObject([
      { kind: 'set-condition' },
      { kind: 'wait', reason: 'somebody to promote the deployment' },
    ])
  })
  test('can be looked at by the tag of latest meanwhile', () => {
    const snapshot = ready(manual)
    snapshot.service.traffic = [target('latest', 100, 'preview')]
    snapshot.status.traffic = [target(old, 100, 'preview')]
    expect(planNow(snapshot)).toMatchObject([
      { kind: 'shift-traffic', traffic: [target(old, 100), target(next, 0, 'preview')] },
    ])
  })
  test('goes straight on when it is promoted, once a replica is there', () => {
    const told = rollingOut({ promoteFrom: 0 }, waiting, { rollout: manual })
    expect(planNow(told)).toMatchObject([{ kind: 'shift-traffic', traffic: [target(next, 100)] }])
    expect(planNow({ ...told, replicas: [aReplica('a', 1)] })).toMatchObject([{ kind: 'place-replicas' }])
  })
  test('that is the first one serves nothing until it is promoted, and then everything', () => {
    const first = (deployment: Partial<DeploymentFacts>, readyAt: Date | null) =>
      aSnapshot({
        service: aService({ rollout: manual }),
        open: [aDeployment(1, deployment)],
        revisions: [aRevision(1, { readyAt })],
        replicas: [aReplica('a', 1)],
      })
    expect(planNow(first({}, null))).toMatchObject([{ kind: 'shift-traffic', traffic: [] }])
    const times = { startedAt: at(-1).toISOString(), shiftedAt: at(-1).toISOString() }
    const rollout = { previous: null, ...times, ...waiting }
    const told = { phase: 'shifting', rollout, promoteTo: 10 } as const
    expect(planNow(first(told, at(-1)))).toMatchObject([
      { kind: 'shift-traffic', traffic: [target(old, 100)], deployment: { rollout: { percent: 100 } } },
    ])
  })
})

describe('a newer deployment', () => {
  const queued = aDeployment(3, { revisionUid: null, revisionName: null, phase: 'queued' })

  test('begins where the one it supersedes began, with its traffic given back first', () => {
    const snapshot = rollingOut()
    expect(planNow({ ...snapshot, open: [...snapshot.open, queued] })).toMatchObject([
      { kind: 'shift-traffic', traffic: [target(old, 100)], deployment: null },
      { kind: 'finish-deployment', deployment: 'dep-2', phase: 'superseded' },
      { kind: 'resolve-image', deployment: 'dep-3' },
    ])
  })
  test('gives the traffic back also when the worker died right after the older one had ended', () => {
    const { open, ...snapshot } = rollingOut()
    const lastFinished = { ...open[0], phase: 'superseded' } as DeploymentFacts
    expect(planNow({ ...snapshot, lastFinished, open: [queued] })).toMatchObject([
      { kind: 'shift-traffic', traffic: [target(old, 100)] },
      { kind: 'resolve-image' },
    ])
  })
  test('begins from the older one where that had all of the traffic', () => {
    const snapshot = rollingOut({}, { percent: 100, acknowledgedAt: null })
    const status = { ...snapshot.status, latestReadyRevision: next }
    expect(planNow({ ...snapshot, status, open: [...snapshot.open, queued] })).toMatchObject([
      { kind: 'finish-deployment', phase: 'superseded' },
      { kind: 'resolve-image' },
      { kind: 'retire-replicas', replicas: ['a'] },
    ])
  })
  test('gives the traffic back to what served, although another revision was ready later', () => {
    const snapshot = rollingOut({}, { previous: old })
    const status = { ...snapshot.status, latestReadyRevision: revisionName(9) }
    const revisions = [...snapshot.revisions, aRevision(9, { readyAt: at(-5_000) })]
    expect(planNow({ ...snapshot, status, revisions, open: [...snapshot.open, queued] })[0]).toMatchObject({
      kind: 'shift-traffic',
      traffic: [target(old, 100)],
    })
  })
})

describe('a revision that breaks', () => {
  const ended = (...agoMs: number[]) => agoMs.map((ms) => at(-ms).toISOString())
  const crashing = aReplica('b', 2, {
    state: 'starting',
    ends: ended(9_000, 7_000, 500),
    message: 'exit 1',
  })
  const crashLoop = 'hello-00002 ended three times within 60 s, last on n1: exit 1'

  test('during its steps ends the deployment, and what served before has its traffic back', () => {
    expect(planNow({ ...rollingOut(), replicas: [aReplica('a', 1), crashing] })).toMatchObject([
      {
        kind: 'take-traffic-back',
        back: { traffic: [target(old, 100)], latest: old },
        end: {
          phase: 'failed',
          reason: 'CrashLoop',
          node: 'n1',
          message: `at 10 % of the traffic, which hello-00001 has back: ${crashLoop}`,
        },
      },
    ])
  })
  test('is not one that ended before its traffic began to move, or only twice', () => {
    const kinds = (ends: string[]) =>
      planNow({ ...rollingOut(), replicas: [aReplica('a', 1), { ...crashing, ends }] }).map(
        ({ kind }) => kind,
      )
    expect(kinds(ended(45_000, 44_000, 500))).not.toContain('take-traffic-back')
    expect(kinds(ended(7_000, 500))).not.toContain('take-traffic-back')
  })
  test('is known by replicas that were lost for good too, unless their nodes were', () => {
    const failures = (reason: string) => [3, 2, 1].map((n) => aFailure(`f${n}`, 2, n * 1000, reason))
    const replicas = [aReplica('a', 1), aReplica('b', 2)]
    const kinds = (reason: string) =>
      planNow({ ...rollingOut(), replicas: [...replicas, ...failures(reason)] }).map(({ kind }) => kind)
    expect(kinds('OutOfMemory')).toContain('take-traffic-back')
    expect(kinds('LivenessFailed')).toContain('take-traffic-back')
    expect(kinds('NodeLost')).not.toContain('take-traffic-back')
  })
  test('is one of which nothing can run, for a reason of its own', () => {
    const broken = (reason: string, replicas = [aReplica('a', 1)]) => {
      const snapshot = rollingOut()
      const failure = { reason, message: 'it does not start' }
      const revisions = snapshot.revisions.map((each) => (each.name === next ? { ...each, failure } : each))
      return planNow({ ...snapshot, revisions, replicas })
    }
    expect(broken('StartFailed')).toMatchObject([
      {
        kind: 'take-traffic-back',
        end: {
          reason: 'CrashLoop',
          message: expect.stringContaining('nothing of hello-00002 can run: it does not start'),
        },
      },
    ])
    const other = [broken('Unplaceable'), broken('StartFailed', [aReplica('b', 2)])]
    for (const actions of other) expect(actions.map(({ kind }) => kind)).not.toContain('take-traffic-back')
  })
  test('by what the routers have told the leader goes back too', () => {
    const trouble = { reason: 'ErrorRate', message: '30 of 40 requests failed' } as const
    expect(planNow(rollingOut({ trouble }))).toMatchObject([
      { kind: 'take-traffic-back', end: { phase: 'failed', reason: 'ErrorRate' } },
    ])
  })

  /** All traffic has moved; `change` is about the deployment. */
  function moved(change: Partial<DeploymentFacts>, replicas = [crashing]): ReconcileSnapshot {
    const { open, ...snapshot } = rollingOut(change, { percent: 100 })
    const status = { ...snapshot.status, latestReadyRevision: next }
    return { ...snapshot, status, replicas, open, acknowledged: [{ revision: revisionUid(2), percent: 100 }] }
  }
  function finished(change: Partial<DeploymentFacts> = {}, replicas = [crashing]): ReconcileSnapshot {
    const snapshot = moved({ phase: 'succeeded', finishedAt: at(-10_000), ...change }, replicas)
    return { ...snapshot, open: [], lastFinished: snapshot.open[0] ?? null }
  }

  test('before every router has acknowledged the last step goes back as well', () => {
    expect(planNow(moved({}))).toMatchObject([
      { kind: 'take-traffic-back', back: { traffic: [target(old, 100)], latest: old } },
    ])
  })
  test('within 30 s after its deployment has succeeded is rolled back', () => {
    expect(planNow(finished())).toEqual([
      {
        kind: 'roll-back',
        deployment: 'dep-2',
        back: { traffic: [target(old, 100)], latest: old },
        why: { reason: 'CrashLoop', node: 'n1', message: `hello-00001 serves again: ${crashLoop}` },
      },
    ])
  })
  test('is observed for that long', () => {
    expect(planNow(finished({}, [aReplica('b', 2)]))).toMatchObject([
      { kind: 'set-condition' },
      { kind: 'wait', untilMs: readAtMs + 20_000 },
    ])
  })
  test.each<[string, Partial<DeploymentFacts>, Partial<ReconcileSnapshot>]>([
    ['later', { finishedAt: at(-30_000) }, {}],
    ['twice', { rolledBack: { reason: 'CrashLoop', message: 'it did' } }, {}],
    ['where there is nothing to go back to', {}, { revisions: [aRevision(2, { readyAt: at(-1) })] }],
    ['while the user has pinned the traffic', {}, { service: aService({ pinnedRevision: next }) }],
    ['of which no traffic follows latest', {}, { service: aService({ traffic: [target(next, 100)] }) }],
  ])('is not rolled back %s', (_what, deployment, change) => {
    expect(planNow({ ...finished(deployment), ...change }).map(({ kind }) => kind)).not.toContain('roll-back')
  })
  test('is told in the condition once it was rolled back', () => {
    const rolledBack = { reason: 'CrashLoop', message: 'it did' } as const
    const snapshot = finished({ rolledBack }, [aReplica('a', 1)])
    const status = { ...snapshot.status, latestReadyRevision: old, traffic: [target(old, 100)] }
    const acknowledged = [{ revision: revisionUid(1), percent: 100 }]
    expect(planNow({ ...snapshot, status, acknowledged })).toMatchObject([
      {
        kind: 'set-condition',
        ready: {
          status: 'True',
          message: 'hello-00001 serves; hello-00002 was rolled back by itself (CrashLoop): it did',
        },
      },
    ])
  })
})
