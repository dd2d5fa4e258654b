import { isTerminal, reasonCatalogue, revisionName, type Reason } from '@berth/contracts'
import type { DeploymentFacts, ReconcileSnapshot, ReplicaFacts, RevisionFacts } from '@berth/db'
import { restartBackoffMs, surgeScale } from '@berth/scheduler'
import { mountsVolumes } from '../replicas/index.ts'
import type { Action, ServiceMemory } from './action.ts'
import { architectureProblem, findPlaces } from './place.ts'
import { isAcknowledged, resolveTraffic } from './wanted-traffic.ts'

/** From the moment when a worker first looked at it. */
const deploymentDeadlineMs = 300_000
const maxResolveAttempts = 5
/** So many failed starts in a row end a deployment before its deadline, when the app is at fault. */
const maxCrashesInARow = 3

const lookAgainMs = 1_000
/** Whoever asks a registry gives up by then, and wakes the service before. */
const registryAnswersMs = 15_000
const crashReasons: readonly string[] = ['AppCrashed', 'OutOfMemory', 'NotListening', 'ProbeFailed']

/** The next steps of the deployment that is to happen: the newest one that is open. */
export function planDeployment(
  snapshot: ReconcileSnapshot,
  deployment: DeploymentFacts,
  memory: ServiceMemory,
  now: number,
): Action[] {
  const revision = snapshot.revisions.find(({ uid }) => uid === deployment.revisionUid)
  if (deployment.phase === 'shifting') {
    if (isAcknowledged(snapshot)) return [succeed(deployment, revision)]
    return [wait('every router to acknowledge the shift', now + lookAgainMs)]
  }
  // Once the shift is written it is too late for both: the routers have it.
  if (deployment.cancelRequestedAt !== null)
    return [finish(deployment, 'cancelled', 'Cancelled', 'cancelled by the user')]
  const deadline = (deployment.workedOnSince?.getTime() ?? now) + deploymentDeadlineMs
  if (now >= deadline) return [failAtDeadline(snapshot, deployment, memory)]
  if (deployment.revisionUid === null) return planRevision(snapshot, deployment, memory, now)
  if (!revision) return [finish(deployment, 'failed', 'StartFailed', 'the revision does not exist any more')]
  return planReplicas(snapshot, deployment, revision, deadline, now)
}

function planRevision(
  snapshot: ReconcileSnapshot,
  deployment: DeploymentFacts,
  memory: ServiceMemory,
  now: number,
): Action[] {
  if (deployment.trigger === 'rollback') return planRollback(snapshot, deployment)
  const known = memory.image
  if (known?.deployment !== deployment.id || known.generation !== snapshot.service.generation)
    return [{ kind: 'resolve-image', deployment: deployment.id, attempt: 1 }]
  if (known.kind === 'asking') return [wait('the registry', now + registryAnswersMs)]
  if (known.kind === 'failed') {
    if (isTerminal(known.reason) || known.attempts >= maxResolveAttempts)
      return [finish(deployment, 'failed', known.reason, known.message)]
    const nextAt = known.failedAtMs + restartBackoffMs(known.attempts, 0)
    if (now < nextAt) return [...report(deployment, known), wait('the registry', nextAt)]
    return [{ kind: 'resolve-image', deployment: deployment.id, attempt: known.attempts + 1 }]
  }
  const { image } = known
  const suffix = deployment.revisionSuffix
  const before = suffix === null ? snapshot.revisions.at(-1) : revisionOfName(snapshot, suffix)
  const same = before?.contentHash === image.contentHash && before.imageDigest === image.digest
  if (before && same) {
    const message = `image and template are those of ${before.name}: no new revision`
    return [{ kind: 'reuse-revision', deployment: deployment.id, revision: pick(before), message }]
  }
  if (suffix === null || !before) return [{ kind: 'make-revision', deployment: deployment.id, image, suffix }]
  const what = before.imageDigest === image.digest ? 'template or environment' : 'image'
  const message = `${before.name} is there already with another ${what}`
  return [finish(deployment, 'failed', 'RevisionExists', message)]
}

function revisionOfName(
  { service, revisions }: ReconcileSnapshot,
  suffix: string,
): RevisionFacts | undefined {
  const wanted = revisionName(service.name, suffix)
  return revisions.find(({ name }) => name === wanted)
}

function planRollback(snapshot: ReconcileSnapshot, deployment: DeploymentFacts): Action[] {
  const name = snapshot.service.pinnedRevision ?? deployment.revisionName
  const revision = snapshot.revisions.find((candidate) => candidate.name === name)
  if (!revision)
    return [finish(deployment, 'failed', 'StartFailed', 'the revision to roll back to does not exist')]
  const message = `rolling back to ${revision.name}`
  return [{ kind: 'reuse-revision', deployment: deployment.id, revision: pick(revision), message }]
}

function planReplicas(
  snapshot: ReconcileSnapshot,
  deployment: DeploymentFacts,
  revision: RevisionFacts,
  deadline: number,
  now: number,
): Action[] {
  const own = snapshot.replicas.filter(({ revisionUid }) => revisionUid === revision.uid)
  const ready = own.filter(({ state }) => state === 'ready').length
  const starting = own.filter(({ state }) => state === 'starting').length
  const needed = replicasNeeded(snapshot, deployment, revision)
  if (ready >= needed) return [shift(snapshot, deployment, revision, ready)]

  const failures = failuresOf(snapshot, deployment)
  const verdict = judgeFailures(failures, own, mostCrashes(revision))
  if (verdict) return [finish(deployment, 'failed', verdict.reason, verdict.message)]
  const missing = needed - ready - starting
  if (missing <= 0) return [wait('replicas to become ready', deadline)]

  const lastFailure = failures.at(-1)
  if (lastFailure?.failedAt) {
    const nextAt = lastFailure.failedAt.getTime() + restartBackoffMs(failures.length, 0)
    if (now < nextAt) return [wait('the back-off after a failed start', nextAt)]
  }
  const places = findPlaces(snapshot, revision, missing, now)
  if (places.nodes.length > 0)
    return [
      {
        kind: 'place-replicas',
        deployment: deployment.id,
        revision: pick(revision),
        nodes: places.nodes,
        atMost: surgeScale(snapshot.service.maxScale),
      },
    ]
  const wrongArchitecture = architectureProblem(snapshot, revision)
  if (wrongArchitecture) return [finish(deployment, 'failed', 'ArchitectureMismatch', wrongArchitecture)]
  // What the old revision holds may be all there is: its replicas make room once the new ones serve.
  if (ready > 0 && starting === 0) return [shift(snapshot, deployment, revision, ready)]
  if (starting > 0) return [wait('replicas to become ready', Math.min(deadline, now + lookAgainMs))]
  const message = places.unplaceable ?? 'no node fits'
  return [
    ...report(deployment, { reason: 'Unplaceable', message }),
    wait('capacity', Math.min(deadline, now + lookAgainMs)),
  ]
}

/**
 * Start first, never below what serves: as many as the running replicas of what has the traffic now, at least one,
 * within the service's `maxScale` and the surge over it. None where there is nothing to prove: the revision serves
 * already, or it is rolled back to and wakes on request.
 */
function replicasNeeded(
  snapshot: ReconcileSnapshot,
  deployment: DeploymentFacts,
  revision: RevisionFacts,
): number {
  const { status, service } = snapshot
  const traffic = status.traffic.filter(({ percent }) => percent > 0)
  if (revision.readyAt !== null && traffic.some((target) => target.revision === revision.name)) return 0
  if (deployment.trigger === 'rollback' && service.minScale === 0) return 0
  const serving = new Set(
    snapshot.revisions.filter(({ name }) => traffic.some((target) => target.revision === name)).map(pickUid),
  )
  const alive = snapshot.replicas.filter(({ state }) => state !== 'failed')
  const running = alive.filter(
    ({ revisionUid, state, rung }) => serving.has(revisionUid) && state === 'ready' && rung === 'running',
  ).length
  const others = alive.filter(({ revisionUid, rung }) => revisionUid !== revision.uid && rung !== 'parked')
  const room = surgeScale(service.maxScale) - others.length
  return Math.max(1, Math.min(running, service.maxScale, room))
}

/** Failed starts of the deployment, oldest first. */
function failuresOf(snapshot: ReconcileSnapshot, deployment: DeploymentFacts): ReplicaFacts[] {
  return snapshot.replicas
    .filter(({ state, deploymentId }) => state === 'failed' && deploymentId === deployment.id)
    .sort((a, b) => (a.failedAt?.getTime() ?? 0) - (b.failedAt?.getTime() ?? 0))
}

/** With volumes every try takes them from the replica that serves, so there is only one. */
function mostCrashes({ template }: RevisionFacts): number {
  return mountsVolumes(template) ? 1 : maxCrashesInARow
}

type Verdict = { reason: Reason; message: string }

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

function failureOf(replica: ReplicaFacts): Verdict {
  const reason = replica.reason ?? ''
  const known = Object.hasOwn(reasonCatalogue, reason) ? (reason as Reason) : 'StartFailed'
  return { reason: known, message: replica.message ?? reasonCatalogue[known].meaning }
}

function failAtDeadline(
  snapshot: ReconcileSnapshot,
  deployment: DeploymentFacts,
  memory: ServiceMemory,
): Action {
  const seconds = deploymentDeadlineMs / 1000
  const last = failuresOf(snapshot, deployment).at(-1)
  if (last) {
    const { reason, message } = failureOf(last)
    return finish(deployment, 'failed', reason, `not ready within ${seconds} s: ${message}`)
  }
  if (deployment.reason === 'Unplaceable' && deployment.message !== null)
    return finish(
      deployment,
      'failed',
      'Unplaceable',
      `not placed within ${seconds} s: ${deployment.message}`,
    )
  const { image } = memory
  if (image?.kind === 'failed' && image.deployment === deployment.id)
    return finish(deployment, 'failed', image.reason, image.message)
  return finish(
    deployment,
    'failed',
    'DeadlineExceeded',
    `not ready within ${seconds} s, still ${deployment.phase}`,
  )
}

function shift(
  snapshot: ReconcileSnapshot,
  deployment: DeploymentFacts,
  revision: RevisionFacts,
  ready: number,
): Action {
  const isRollback = deployment.trigger === 'rollback'
  const latest = isRollback ? snapshot.status.latestReadyRevision : revision.name
  const replicas = `${ready} ${ready === 1 ? 'replica' : 'replicas'} ready`
  return {
    kind: 'shift-traffic',
    traffic: resolveTraffic(snapshot, latest),
    deployment: { id: deployment.id, message: `routing ${revision.name}, ${replicas}` },
    ready: isRollback && ready === 0 ? null : { ...pick(revision), latest: !isRollback },
  }
}

function succeed(deployment: DeploymentFacts, revision: RevisionFacts | undefined): Action {
  const name = revision?.name ?? deployment.revisionName ?? 'the revision'
  const isOld = revision !== undefined && revision.createdAt < deployment.startedAt
  const unchanged = isOld && deployment.trigger !== 'rollback'
  return finish(
    deployment,
    'succeeded',
    null,
    unchanged ? `${name} is in place; image and template are unchanged` : `${name} is in place`,
  )
}

/** Told once, until something else stands in the way. */
function report(deployment: DeploymentFacts, { reason, message }: Verdict): Action[] {
  if (deployment.reason === reason && deployment.message === message) return []
  return [{ kind: 'report-trouble', deployment: deployment.id, reason, message }]
}

function finish(
  deployment: DeploymentFacts,
  phase: 'succeeded' | 'failed' | 'cancelled',
  reason: Reason | null,
  message: string,
): Action {
  return { kind: 'finish-deployment', deployment: deployment.id, phase, reason, message }
}

function wait(reason: string, untilMs: number): Action {
  return { kind: 'wait', reason, untilMs }
}

const pick = ({ uid, name }: RevisionFacts) => ({ uid, name })
const pickUid = ({ uid }: RevisionFacts) => uid
