import { demandRepeatMs, reportIntervalMs, type RouterFrame, type RouteVersion } from '@berth/contracts'
import type { RevisionAdmission } from '../admission/revision.ts'
import type { Revisions } from '../admission/revisions.ts'

export type ReportingOptions = {
  revisions: Revisions
  version(): RouteVersion | undefined
  send(frame: RouterFrame): void
}

export type Reporting = {
  /** A request of the revision has just begun to wait. */
  queued(revision: RevisionAdmission): void
  close(): void
}

/**
 * Tells the leader what is going on: demand at once when a request waits and every 50 ms while any does, and a
 * report of everything every 500 ms.
 */
export function startReporting(options: ReportingOptions): Reporting {
  const announced = new Set<RevisionAdmission>()
  let repeating: NodeJS.Timeout | undefined

  function tellDemand(revision: RevisionAdmission): void {
    const { queued, inFlight, route } = revision
    options.send({ kind: 'demand', revision: route.uid, queued, inFlight })
  }

  function repeat(): void {
    let waiting = 0
    for (const revision of options.revisions.all()) {
      if (revision.queued === 0) continue
      waiting += 1
      tellDemand(revision)
    }
    if (waiting > 0) return
    clearInterval(repeating)
    repeating = undefined
  }

  const reports = setInterval(() => {
    const version = options.version()
    if (version) options.send({ kind: 'report', version, revisions: options.revisions.report() })
  }, reportIntervalMs)

  return {
    queued(revision) {
      repeating ??= setInterval(repeat, demandRepeatMs)
      if (announced.has(revision)) return
      // Told once per turn of the event loop, so that a burst is one frame with its whole depth.
      announced.add(revision)
      setImmediate(() => {
        announced.delete(revision)
        if (revision.queued > 0) tellDemand(revision)
      })
    },
    close() {
      clearInterval(reports)
      clearInterval(repeating)
    },
  }
}
