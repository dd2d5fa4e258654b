import { isTerminal, reasonCatalogue, type Reason } from '@berth/contracts'
import type { DeploymentFacts, ReconcileSnapshot, ReplicaFacts, RevisionFacts } from '@berth/db'
import { restartBackoffMs, surgeScale } from '@berth/scheduler'
import { mountsVolumes } from '../replicas/index.ts'
import type { Action } from './action.ts'
import { architectureProblem, findPlaces } from './place.ts'

/** So many failed starts in a row end a deployment before its deadline, when the app is at fault. */
const maxCrashesInARow = 3

const lookAgainMs = 1_000
/** Of the app's own making. */
export const crashReasons: readonly string[] = [
  'AppCrashed',
  'OutOfMemory',
  'NotListening',
  'ProbeFailed',
  'LivenessFailed',
]

export type Verdict = { reason: Reason; message: string }

/**
 * ready   enough of the revision's replicas are there, or as many as find a place
 * steps   what to do to get there
 * failed  it makes no sense to go on
 */
export type BringUp =
  | { kind: 'ready'; replicas: number }
  | { kind: 'steps'; actions: Action[] }
  | { kind: 'failed'; verdict: Verdict }

/** Brings `needed` replicas of the revision up for its deployment; waits no longer than `deadline` (ms since 1970). */
export function bringUp(
  snapshot: ReconcileSnapshot,
  { deployment, revision, needed }: { deployment: DeploymentFacts; revision: RevisionFacts; needed: number },
  deadline: number,
  now: number,
): BringUp {
  const own = snapshot.replicas.filter(({ revisionUid }) => revisionUid === revision.uid)
  const ready = own.filter(({ state }) => state === 'ready').length
  const starting = own.filter(({ state }) => state === 'starting').length
  if (ready >= needed) return { kind: 'ready', replicas: ready }

  const failures = failuresOf(snapshot, deployment)
  const verdict = judgeFailures(failures, own, mostCrashes(revision))
  if (verdict) return { kind: 'failed', verdict }
  const missing = needed - ready - starting
  if (missing <= 0) return steps(wait('replicas to become ready', deadline))

  const lastFailure = failures.at(-1)
  if (lastFailure?.failedAt) {
    const nextAt = lastFailure.failedAt.getTime() + restartBackoffMs(failures.length, 0)
    if (now < nextAt) return steps(wait('the back-off after a failed start', nextAt))
  }
  const places = findPlaces(snapshot, revision, missing, now)
  if (places.nodes.length > 0)
    return steps({
      kind: 'place-replicas',
      deployment: deployment.id,
      revision: { uid: revision.uid, name: revision.name },
      nodes: places.nodes,
      atMost: surgeScale(snapshot.service.maxScale),
    })
  const message = architectureProblem(snapshot, revision)
  if (message) return { kind: 'failed', verdict: { reason: 'ArchitectureMismatch', message } }
  // What the old revision holds may be all there is: its replicas make room once the new ones serve.
  if (ready > 0 && starting === 0) return { kind: 'ready', replicas: ready }
  const soon = Math.min(deadline, now + lookAgainMs)
  if (starting > 0) return steps(wait('replicas to become ready', soon))
  const unplaceable = { reason: 'Unplaceable', message: places.unplaceable ?? 'no node fits' } as const
  return steps(...reportOnce(deployment, unplaceable), wait('capacity', soon))
}

function steps(...actions: Action[]): BringUp {
  return { kind: 'steps', actions }
}

function wait(reason: string, untilMs: number): Action {
  return { kind: 'wait', reason, untilMs }
}

/** Told once, until something else stands in the way. */
export function reportOnce(deployment: DeploymentFacts, { reason, message }: Verdict): Action[] {
  if (deployment.reason === reason && deployment.message === message) return []
  return [{ kind: 'report-trouble', deployment: deployment.id, reason, message }]
}

/**
 * Start first, never below what serves: as many as the running replicas of what has the traffic now, for `percent` of
 * it, at least one, within the service's `maxScale` and the surge over it. None where there is nothing to prove: the
 * revision serves already, or it is rolled back to and wakes on request.
 */
export function replicasNeeded(
  snapshot: ReconcileSnapshot,
  {
    deployment,
    revision,
    percent,
  }: { deployment: DeploymentFacts; revision: RevisionFacts; percent: number },
): number {
  const { status, service } = snapshot
  const traffic = status.traffic.filter((target) => target.percent > 0)
  const rollsOut = deployment.rollout !== null
  if (!rollsOut && revision.readyAt !== null && traffic.some((target) => target.revision === revision.name))
    return 0
  if (deployment.trigger === 'rollback' && service.minScale === 0) return 0
  const serving = new Set(
    snapshot.revisions
      .filter(({ name }) => traffic.some((target) => target.revision === name))
      .map(({ uid }) => uid),
  )
  const others = snapshot.replicas.filter(
    ({ revisionUid, state }) => revisionUid !== revision.uid && state !== 'failed',
  )
  const running = others.filter(
    ({ revisionUid, state, rung }) => serving.has(revisionUid) && state === 'ready' && rung === 'running',
  ).length
  const room = surgeScale(service.maxScale) - others.filter(({ rung }) => rung !== 'parked').length
  return Math.max(1, Math.min(Math.ceil((running * percent) / 100), service.maxScale, room))
}

/** Failed starts of the deployment, oldest first. */
export function failuresOf(snapshot: ReconcileSnapshot, deployment: DeploymentFacts): ReplicaFacts[] {
  return snapshot.replicas
    .filter(({ state, deploymentId }) => state === 'failed' && deploymentId === deployment.id)
    .sort((a, b) => (a.failedAt?.getTime() ?? 0) - (b.failedAt?.getTime() ?? 0))
}

/** With volumes every try takes them from the replica that serves, so there is only one. */
function mostCrashes({ template }: RevisionFacts): number {
  return mountsVolumes(template) ? 1 : maxCrashesInARow
}

/** Why it makes no sense to try again, or null. */
function judgeFailures(
  failures: readonly ReplicaFacts[],
  own: readonly ReplicaFacts[],
  most: number,
): Verdict | null {
  const terminal = failures.map(failureOf).find(({ reason }) => isTerminal(reason))
  if (terminal) return terminal
  const lastReady = Math.max(0, ...own.map(({ readyAt }) => readyAt?.getTime() ?? 0))
  const inARow = failures.filter(({ failedAt }) => (failedAt?.getTime() ?? 0) > lastReady)
  const last = inARow.at(-1)
  if (!last || inARow.length < most) return null
  if (!inARow.slice(-most).every(({ reason }) => crashReasons.includes(reason ?? ''))) return null
  return failureOf(last)
}

export function failureOf(replica: ReplicaFacts): Verdict {
  const reason = replica.reason ?? ''
  const known = Object.hasOwn(reasonCatalogue, reason) ? (reason as Reason) : 'StartFailed'
  return { reason: known, message: replica.message ?? reasonCatalogue[known].meaning }
}
