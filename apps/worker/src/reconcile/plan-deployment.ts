import { isTerminal, revisionName, type Reason } from '@berth/contracts'
import type { DeploymentFacts, ReconcileSnapshot, RevisionFacts } from '@berth/db'
import { restartBackoffMs } from '@berth/scheduler'
import type { Action, ServiceMemory } from './action.ts'
import { bringUp, failureOf, failuresOf, replicasNeeded, reportOnce } from './bring-up.ts'
import { openRollout, planRollout, shift, stoppedBy } from './plan-rollout.ts'

/** From the moment when a worker first looked at it. */
const deploymentDeadlineMs = 300_000
const maxResolveAttempts = 5
/** Whoever asks a registry gives up by then, and wakes the service before. */
const registryAnswersMs = 15_000

/** The next steps of the deployment that is to happen: the newest one that is open. */
export function planDeployment(
  snapshot: ReconcileSnapshot,
  deployment: DeploymentFacts,
  memory: ServiceMemory,
  now: number,
): Action[] {
  const revision = snapshot.revisions.find(({ uid }) => uid === deployment.revisionUid)
  if (deployment.phase === 'shifting') return planRollout(snapshot, deployment, revision, now)
  const stopped = stoppedBy(deployment)
  if (stopped !== null) return [finish(deployment, 'cancelled', stopped.reason, stopped.message)]
  const deadline = (deployment.workedOnSince?.getTime() ?? now) + deploymentDeadlineMs
  if (now >= deadline) return [failAtDeadline(snapshot, deployment, memory)]
  if (deployment.revisionUid === null) return planRevision(snapshot, deployment, memory, now)
  if (!revision) return [finish(deployment, 'failed', 'StartFailed', 'the revision does not exist any more')]
  const opening = openRollout(snapshot, deployment, revision, now)
  const about = { deployment, revision, percent: opening.percent }
  const up = bringUp(snapshot, { ...about, needed: replicasNeeded(snapshot, about) }, deadline, now)
  if (up.kind === 'steps') return up.actions
  if (up.kind === 'failed') return [finish(deployment, 'failed', up.verdict.reason, up.verdict.message)]
  return [shift(snapshot, deployment, revision, { ...opening, ready: up.replicas }, now)]
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
    if (now < nextAt) return [...reportOnce(deployment, known), wait('the registry', nextAt)]
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

function finish(
  deployment: DeploymentFacts,
  phase: 'failed' | 'cancelled',
  reason: Reason,
  message: string,
): Action {
  return { kind: 'finish-deployment', deployment: deployment.id, phase, reason, message }
}

function wait(reason: string, untilMs: number): Action {
  return { kind: 'wait', reason, untilMs }
}

const pick = ({ uid, name }: RevisionFacts) => ({ uid, name })
