import type { TrafficTarget } from '@berth/contracts'
import type { DeploymentFacts, ReconcileSnapshot } from '@berth/db'

/**
 * The targets that the service asks for, with revisions by name. A target whose revision is not there is left out,
 * and so is `latest` while nothing has become ready.
 */
export function resolveTraffic(snapshot: ReconcileSnapshot, latest: string | null): TrafficTarget[] {
  const { traffic, pinnedRevision } = snapshot.service
  const exists = (name: string) => snapshot.revisions.some((revision) => revision.name === name)
  const resolved = traffic.flatMap((target) => {
    const revision = target.revision === 'latest' ? latest : target.revision
    return revision !== null && exists(revision) ? [{ ...target, revision }] : []
  })
  if (pinnedRevision === null || !exists(pinnedRevision)) return resolved
  const tags = resolved.filter(({ tag }) => tag !== null).map((target) => ({ ...target, percent: 0 }))
  return [{ revision: pinnedRevision, percent: 100, tag: null }, ...tags]
}

/**
 * What `latest` means while no deployment shifts: the latest revision that became ready. A rollback is over with
 * the next deployment, but only once that has succeeded: until then `latest` stays what is served in its place, so
 * that a failed deployment does not bring back the revision that was rolled back from.
 */
export function currentLatest(
  snapshot: ReconcileSnapshot,
  active: DeploymentFacts | undefined,
): string | null {
  const { status, lastFinished } = snapshot
  const settled = !active && (lastFinished === null || lastFinished.phase === 'succeeded')
  if (settled) return status.latestReadyRevision
  const served = status.traffic.map(({ revision }) => revision)
  const candidates = [status.latestReadyRevision, ...served]
  const same = candidates.find((name) => sameTraffic(resolveTraffic(snapshot, name), status.traffic))
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
