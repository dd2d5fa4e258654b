import type { DemandFrame, ReplicaId, ReportFrame, RevisionUid } from '@berth/contracts'
import type { Answers } from '@berth/scheduler'
import type { RevisionLoad, RouterReports } from './ports.ts'

/** A report older than this says nothing about now. Routers send one every 500 ms. */
const freshMs = 2000
const longWindowMs = 60_000
const shortWindowMs = 6000
/** A minute of a rollout, and the minute before it. */
const answersKeptMs = 120_000

type RevisionReport = ReportFrame['revisions'][number]
type Sample = { at: number; concurrency: number }
type Answered = { at: number; requests: number; failed: number }
type RouterState = {
  at: number
  revisions: Map<string, RevisionReport>
  replicas: Map<string, { idleMs: number }>
}
type Demand = { at: number; queued: number; inFlight: number }

export type RouterReportsOptions = {
  now(): number
  /** Ids of the routers that have to report before anything is stepped down. */
  knownRouters(): readonly string[]
}

/**
 * Adds up what all routers report. Every report adds a sample of what all routers together have in flight and
 * queued, zeros included, so that a burst of a second counts for a sixtieth of a minute.
 */
export function createRouterReports(options: RouterReportsOptions) {
  const routers = new Map<string, RouterState>()
  const demands = new Map<string, Map<string, Demand>>()
  const windows = new Map<string, Sample[]>()
  const answers = new Map<string, Answered[]>()
  const lastBusyAt = new Map<string, number>()
  const demandListeners = new Set<
    (demand: { revision: RevisionUid; queued: number; inFlight: number }) => void
  >()
  const failedListeners = new Set<(failed: { replica: ReplicaId; cause: string }) => void>()
  const startedAt = options.now()

  function fresh(): RouterState[] {
    return [...routers.values()].filter((router) => options.now() - router.at <= freshMs)
  }

  function mean(revision: string, windowMs: number): number {
    const now = options.now()
    const samples = (windows.get(revision) ?? []).filter((sample) => now - sample.at < windowMs)
    if (samples.length === 0) return 0
    return samples.reduce((sum, sample) => sum + sample.concurrency, 0) / samples.length
  }

  function concurrencyNow(revision: string): number {
    return fresh().reduce((sum, router) => sum + (router.revisions.get(revision)?.concurrency ?? 0), 0)
  }

  function load(revision: RevisionUid): RevisionLoad {
    const now = options.now()
    let inFlight = 0
    let queued = 0
    for (const [id, router] of routers) {
      const demand = demands.get(revision)?.get(id)
      const report = router.revisions.get(revision)
      const newer = demand && demand.at > router.at ? demand : report
      if (!newer || now - Math.max(router.at, demand?.at ?? 0) > freshMs) continue
      inFlight += newer.inFlight
      queued += newer.queued
    }
    const busyAt = lastBusyAt.get(revision)
    return {
      inFlight,
      queued,
      meanConcurrency60s: mean(revision, longWindowMs),
      meanConcurrency6s: mean(revision, shortWindowMs),
      idleMs: inFlight + queued > 0 ? 0 : now - (busyAt ?? startedAt),
    }
  }

  const reports: RouterReports = {
    complete() {
      const known = options.knownRouters()
      if (known.length === 0) return false
      return known.every((id) => options.now() - (routers.get(id)?.at ?? -Infinity) <= freshMs)
    },
    load,
    samples: (revision) => windows.get(revision) ?? [],
    replicaIdleMs(replica) {
      const idle = fresh().flatMap((router) => router.replicas.get(replica)?.idleMs ?? [])
      return idle.length === 0 ? 0 : Math.min(...idle)
    },
    onDemand(listener) {
      demandListeners.add(listener)
      return () => demandListeners.delete(listener)
    },
    onReplicaFailed(listener) {
      failedListeners.add(listener)
      return () => failedListeners.delete(listener)
    },
  }

  return {
    ...reports,

    /** What the revision has answered in a time of the last two minutes, both ends as `now()`. */
    answers(revision: RevisionUid, from: number, to: number): Answers {
      const within = (answers.get(revision) ?? []).filter(({ at }) => at > from && at <= to)
      const sum = (key: 'requests' | 'failed') => within.reduce((total, each) => total + each[key], 0)
      return { requests: sum('requests'), failed: sum('failed') }
    },

    report(router: string, frame: ReportFrame): void {
      const at = options.now()
      routers.set(router, {
        at,
        revisions: new Map(frame.revisions.map((revision) => [revision.uid, revision])),
        replicas: new Map(
          frame.revisions.flatMap((revision) =>
            revision.replicas.map(
              ({ id, inFlight, idleMs }) => [id, { idleMs: inFlight > 0 ? 0 : idleMs }] as const,
            ),
          ),
        ),
      })
      for (const { uid, inFlight, queued, requests, answers: told } of frame.revisions) {
        if (told !== undefined && told.requests > 0) {
          const kept = (answers.get(uid) ?? []).filter((each) => at - each.at <= answersKeptMs)
          answers.set(uid, [...kept, { at, ...told }])
        }
        if (inFlight + queued + requests > 0) lastBusyAt.set(uid, at)
        const samples = (windows.get(uid) ?? []).filter((sample) => at - sample.at <= longWindowMs)
        samples.push({ at, concurrency: concurrencyNow(uid) })
        windows.set(uid, samples)
      }
    },

    demand(router: string, frame: DemandFrame): void {
      const at = options.now()
      const ofRevision = demands.get(frame.revision) ?? new Map<string, Demand>()
      ofRevision.set(router, { at, queued: frame.queued, inFlight: frame.inFlight })
      demands.set(frame.revision, ofRevision)
      lastBusyAt.set(frame.revision, at)
      if (!routers.has(router))
        routers.set(router, { at: -Infinity, revisions: new Map(), replicas: new Map() })
      const { inFlight, queued } = load(frame.revision as RevisionUid)
      for (const listener of demandListeners)
        listener({ revision: frame.revision as RevisionUid, inFlight, queued })
    },

    replicaFailed(replica: ReplicaId, cause: string): void {
      for (const listener of failedListeners) listener({ replica, cause })
    },

    /** Drops what a router said: it is gone. */
    forgetRouter(router: string): void {
      routers.delete(router)
      for (const ofRevision of demands.values()) ofRevision.delete(router)
    },

    /**
     * Drops what is kept about revisions that are no more, but not what they answered lately: a rollout is measured by
     * the revision that it has just replaced.
     */
    forgetRevisions(keep: (revision: string) => boolean): void {
      for (const kept of [demands, windows, lastBusyAt])
        for (const revision of kept.keys()) if (!keep(revision)) kept.delete(revision)
      const oldest = options.now() - answersKeptMs
      for (const [revision, told] of answers)
        if ((told.at(-1)?.at ?? -Infinity) < oldest) answers.delete(revision)
    },
  }
}
