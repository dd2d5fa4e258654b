import type { TrafficTarget } from '@berth/contracts'
import type { DeploymentFacts, ReconcileSnapshot } from '@berth/db'
import { divideLatest } from '@berth/scheduler'

/** The revision that `latest` means, and while a rollout is on its way the one that has `percent` of it already. */
export type Latest = { revision: string | null; next?: { revision: string; percent: number } }

/**
 * The targets that the service asks for, with revisions by name. A target whose revision is not there is left out,
 * and so is `latest` while nothing has become ready.
 */
export function resolveTraffic(snapshot: ReconcileSnapshot, latest: Latest): TrafficTarget[] {
  const { traffic, pinnedRevision } = snapshot.service
  const exists = (name: string) => snapshot.revisions.some((revision) => revision.name === name)
  const resolved = nameLatest(traffic, latest).filter(({ revision }) => exists(revision))
  if (pinnedRevision === null || !exists(pinnedRevision)) return resolved
  const tags = resolved.filter(({ tag }) => tag !== null).map((target) => ({ ...target, percent: 0 }))
  return [{ revision: pinnedRevision, percent: 100, tag: null }, ...tags]
}

function nameLatest(traffic: readonly TrafficTarget[], { revision, next }: Latest): TrafficTarget[] {
  if (next !== undefined && revision !== null)
    return divideLatest(traffic, { previous: revision, next: next.revision, percent: next.percent })
  // Where nothing served before there is nobody to share with.
  const name = next?.revision ?? revision
  const untold = next?.percent === 0
  return traffic.flatMap((target) => {
    if (target.revision !== 'latest') return [target]
    if (name === null || (untold && target.tag === null)) return []
    return [{ ...target, revision: name, percent: untold ? 0 : target.percent }]
  })
}

/** What `latest` means now: by the rollout that is on its way, and else by what is settled. */
export function currentLatest(snapshot: ReconcileSnapshot, active: DeploymentFacts | undefined): Latest {
  if (active?.rollout && active.revisionName !== null) {
    const { previous, percent } = active.rollout
    const next = { revision: active.revisionName, percent }
    return percent === 100 ? { revision: active.revisionName } : { revision: previous, next }
  }
  const broken = brokenOff(snapshot)
  return { revision: broken?.rollout ? broken.rollout.previous : settledLatest(snapshot, active) }
}

/**
 * A deployment that ends, or has ended, before it had all of the traffic: what served before gets it back. One that
 * had all of it when a newer one took over is what the newer one starts from.
 */
function brokenOff({ open, lastFinished }: ReconcileSnapshot): DeploymentFacts | null {
  const isBroken = ({ rollout }: DeploymentFacts) => rollout !== null && rollout.percent < 100
  const superseded = open.slice(0, -1).findLast(isBroken)
  if (superseded !== undefined) return superseded
  return lastFinished !== null && isBroken(lastFinished) ? lastFinished : null
}

/**
 * The latest revision that became ready. A rollback is over with the next deployment, but only once that has
 * succeeded: until then `latest` stays what is served in its place, so that a failed deployment does not bring back
 * the revision that was rolled back from.
 */
function settledLatest(snapshot: ReconcileSnapshot, active: DeploymentFacts | undefined): string | null {
  const { status, lastFinished } = snapshot
  const settled = !active && (lastFinished === null || lastFinished.phase === 'succeeded')
  if (settled) return status.latestReadyRevision
  const served = status.traffic.map(({ revision }) => revision)
  const candidates = [status.latestReadyRevision, ...served]
  const same = candidates.find((name) =>
    sameTraffic(resolveTraffic(snapshot, { revision: name }), status.traffic),
  )
  return same ?? status.latestReadyRevision
}

export function sameTraffic(a: readonly TrafficTarget[], b: readonly TrafficTarget[]): boolean {
  const text = (targets: readonly TrafficTarget[]) =>
    targets.map(({ revision, percent, tag }) => `${revision} ${percent} ${tag ?? ''}`).join('\n')
  return text(a) === text(b)
}

/** Whether requests to the service's own host reach some revision. */
export function serves(snapshot: ReconcileSnapshot): boolean {
  return snapshot.status.traffic.some(({ percent }) => percent > 0)
}

/** Whether every router has acknowledged what the service's status asks to be routed. */
export function isAcknowledged(snapshot: ReconcileSnapshot): boolean {
  const uidOf = new Map(snapshot.revisions.map(({ name, uid }) => [name, uid]))
  const asked = sumByRevision(
    snapshot.status.traffic.map(({ revision, percent }) => ({
      revision: uidOf.get(revision) ?? revision,
      percent,
    })),
  )
  const acknowledged = sumByRevision(snapshot.acknowledged ?? [])
  return (
    asked.size === acknowledged.size &&
    [...asked].every(([revision, percent]) => acknowledged.get(revision) === percent)
  )
}

function sumByRevision(targets: readonly { revision: string; percent: number }[]): Map<string, number> {
  const sums = new Map<string, number>()
  for (const { revision, percent } of targets)
    if (percent > 0) sums.set(revision, (sums.get(revision) ?? 0) + percent)
  return sums
}
