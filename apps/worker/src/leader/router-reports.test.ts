import type { ReplicaId, ReportFrame, RevisionUid } from '@berth/contracts'
import { describe, expect, test } from 'vitest'
import { createRouterReports } from './router-reports.ts'

const revision = 'rev-1' as RevisionUid

function aReport(change: Partial<ReportFrame['revisions'][number]> = {}): ReportFrame {
  return {
    kind: 'report',
    version: { epoch: 1, sequence: 1 },
    revisions: [
      { uid: revision, inFlight: 0, queued: 0, concurrency: 0, requests: 0, replicas: [], ...change },
    ],
  }
}

function setUp(routers: string[] = ['a', 'b']) {
  const clock = { ms: 0 }
  return { clock, reports: createRouterReports({ now: () => clock.ms, knownRouters: () => routers }) }
}

describe('the reports of the routers', () => {
  test('are added up', () => {
    const { reports } = setUp()
    reports.report('a', aReport({ inFlight: 2, queued: 1 }))
    reports.report('b', aReport({ inFlight: 3 }))
    expect(reports.load(revision)).toMatchObject({ inFlight: 5, queued: 1, idleMs: 0 })
  })

  test('are complete only while every known router speaks', () => {
    const { reports, clock } = setUp()
    reports.report('a', aReport())
    expect(reports.complete()).toBe(false)
    reports.report('b', aReport())
    expect(reports.complete()).toBe(true)
    clock.ms = 2001
    reports.report('a', aReport())
    expect(reports.complete()).toBe(false)
  })

  test('are never complete without a router', () => {
    expect(setUp([]).reports.complete()).toBe(false)
  })

  test('tell for two minutes what a revision answered that is no more', () => {
    const { reports, clock } = setUp()
    clock.ms = 1000
    reports.report('a', aReport({ requests: 30, answers: { requests: 30, failed: 2 } }))
    reports.forgetRevisions(() => false)
    expect(reports.answers(revision, 0, 2000)).toEqual({ requests: 30, failed: 2 })
    clock.ms = 121_001
    reports.forgetRevisions(() => false)
    expect(reports.answers(revision, 0, clock.ms)).toEqual({ requests: 0, failed: 0 })
  })

  test('say how long a revision has been idle since its last request', () => {
    const { reports, clock } = setUp()
    clock.ms = 1000
    reports.report('a', aReport({ requests: 1 }))
    clock.ms = 9000
    reports.report('a', aReport())
    expect(reports.load(revision).idleMs).toBe(8000)
  })

  test('take the shortest idle time of a replica over the routers', () => {
    const { reports } = setUp()
    const replica = 'rep-1' as ReplicaId
    reports.report('a', aReport({ replicas: [{ id: replica, inFlight: 0, idleMs: 9000 }] }))
    reports.report('b', aReport({ replicas: [{ id: replica, inFlight: 0, idleMs: 400 }] }))
    expect(reports.replicaIdleMs(replica)).toBe(400)
    reports.report('b', aReport({ replicas: [{ id: replica, inFlight: 1, idleMs: 400 }] }))
    expect(reports.replicaIdleMs(replica)).toBe(0)
  })

  test('let a demand count at once, until the next report', () => {
    const { reports, clock } = setUp()
    const seen: number[] = []
    reports.onDemand(({ queued }) => seen.push(queued))
    reports.report('a', aReport())
    clock.ms = 10
    reports.demand('a', { kind: 'demand', revision, queued: 7, inFlight: 0 })
    expect(seen).toEqual([7])
    expect(reports.load(revision).queued).toBe(7)
    clock.ms = 20
    reports.report('a', aReport())
    expect(reports.load(revision).queued).toBe(0)
  })

  test('let a short burst count for its share of the window', () => {
    const { reports, clock } = setUp(['a'])
    for (clock.ms = 500; clock.ms <= 60_000; clock.ms += 500)
      reports.report('a', aReport({ concurrency: clock.ms > 59_000 ? 60 : 0 }))
    clock.ms = 60_000
    expect(reports.load(revision).meanConcurrency60s).toBeCloseTo(1)
    expect(reports.load(revision).meanConcurrency6s).toBeCloseTo(10)
    expect(reports.samples(revision)).toHaveLength(120)
  })

  test('keep no sample beyond the window', () => {
    const { reports, clock } = setUp(['a'])
    reports.report('a', aReport({ concurrency: 5 }))
    clock.ms = 60_001
    reports.report('a', aReport())
    expect(reports.samples(revision)).toEqual([{ at: 60_001, concurrency: 0 }])
  })

  test('of a router that is gone count no more', () => {
    const { reports } = setUp()
    reports.report('a', aReport({ inFlight: 2 }))
    reports.forgetRouter('a')
    expect(reports.load(revision).inFlight).toBe(0)
  })
})
