import type { DeploymentId, RevisionUid, RolloutSettings } from '@berth/contracts'
import type { AnswersBefore, RolloutTrouble } from '@berth/db'
import { expect, test } from 'vitest'
import { createRolloutWatch } from './rollout-watch.ts'
import { createRouterReports } from './router-reports.ts'

const [old, next] = ['rev-1', 'rev-2'] as RevisionUid[] as [RevisionUid, RevisionUid]

/** A watch over one rollout, fed by the reports of one router; `answersBefore` is what a leader before has kept. */
function aWatch(
  rollout: RolloutSettings = { strategy: 'immediate' },
  answersBefore: AnswersBefore | null = null,
) {
  const clock = { ms: 1_000_000 }
  const now = () => clock.ms
  const reports = createRouterReports({ now, knownRouters: () => ['a'] })
  const told: [DeploymentId, RolloutTrouble][] = []
  const remembered: AnswersBefore[] = []
  const deployment = 'dep-2' as DeploymentId
  const observed = [
    { deployment, name: 'hello-00002', revision: next, previous: old, answersBefore, rollout },
  ]
  const watch = createRolloutWatch({
    observed: async () => observed,
    answers: (...asked) => reports.answers(...asked),
    remember: (_deployment, before) => void remembered.push(before),
    report: (...said) => void told.push(said),
    now,
  })
  return {
    told,
    remembered,
    after: async (
      ms: number,
      answers: Record<string, [failed: number, requests: number] | 'unknown'> = {},
    ) => {
      clock.ms += ms
      const revisions = Object.entries(answers).map(([uid, said]) => ({
        uid,
        inFlight: 0,
        queued: 0,
        concurrency: 0,
        requests: 50,
        replicas: [],
        ...(said === 'unknown' ? {} : { answers: { failed: said[0], requests: said[1] } }),
      }))
      reports.report('a', { kind: 'report', version: { epoch: 1, sequence: 1 }, revisions })
      await watch.tick()
    },
  }
}

test('a revision that fails while the one before does not is reported with both figures', async () => {
  const { after, told } = aWatch()
  await after(0)
  await after(500, { [next]: [8, 12], [old]: [0, 15] })
  expect(told).toEqual([])
  await after(500, { [next]: [8, 12], [old]: [1, 15] })
  const message = 'hello-00002 failed 16 of 24 requests (67 %), the revision before 1 of 30 requests (3 %)'
  expect(told).toEqual([['dep-2', { reason: 'ErrorRate', message }]])
})

test('one that took all traffic over is compared with the minute before', async () => {
  const { after, told } = aWatch()
  await after(0, { [old]: [0, 40] })
  await after(500, { [next]: [20, 20] })
  expect(told).toHaveLength(1)
})

test('a new leader compares with what the one before has kept of the minute before', async () => {
  const first = aWatch()
  await first.after(0, { [old]: [1, 40] })
  await first.after(500)
  expect(first.remembered).toEqual([{ failed: 1, requests: 40 }])
  const second = aWatch({ strategy: 'immediate' }, first.remembered[0])
  await second.after(0)
  await second.after(500, { [next]: [20, 20] })
  expect(second.told).toHaveLength(1)
  expect(second.remembered).toEqual([])
})

test.each<[string, RolloutSettings, Record<string, [number, number] | 'unknown'>]>([
  ['does as the one before', { strategy: 'gradual' }, { [next]: [20, 20], [old]: [20, 20] }],
  ['is within its limit', { strategy: 'gradual', maxErrorPercent: 90 }, { [next]: [18, 20], [old]: [0, 20] }],
  [
    'is never to be judged',
    { strategy: 'gradual', maxErrorPercent: 'never' },
    { [next]: [20, 20], [old]: [0, 20] },
  ],
  [
    'is reported by a router that does not count',
    { strategy: 'gradual' },
    { [next]: 'unknown', [old]: 'unknown' },
  ],
])('one that %s stays', async (_what, rollout, answers) => {
  const { after, told } = aWatch(rollout)
  await after(0)
  await after(500, answers)
  expect(told).toEqual([])
})

test('what a revision failed before its rollout, or more than a minute ago, is forgotten', async () => {
  const { after, told } = aWatch()
  await after(0, { [next]: [50, 50], [old]: [0, 50] })
  await after(500, { [next]: [15, 15], [old]: [0, 50] })
  await after(60_001, { [next]: [15, 15], [old]: [0, 50] })
  expect(told).toEqual([])
})
