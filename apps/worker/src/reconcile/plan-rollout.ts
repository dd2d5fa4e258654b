import { wholeRollout, type RolloutProgress } from '@berth/contracts'
import type { DeploymentFacts, ReconcileSnapshot, RevisionFacts } from '@berth/db'
import { decideRollout, type RolloutDecision, type RolloutPlan } from '@berth/scheduler'
import type { Action } from './action.ts'
import { bringUp, replicasNeeded, type Verdict } from './bring-up.ts'
import { rolloutTrouble, type Trouble } from './rollout-trouble.ts'
import { currentLatest, isAcknowledged, resolveTraffic } from './wanted-traffic.ts'

/*
 * A deployment in phase `shifting`: its revision has shown that it starts, and takes the traffic of `latest` over from
 * the one that had it.
 *
 * below 100 %  the step is published; every router acknowledges it; its interval passes, or somebody promotes; the
 *              replicas for the next step become ready; the next step is published
 *              -> traffic taken back, ended: aborted, cancelled, rolled back by the user, or its replicas fail
 * 100 %        -> succeeded once every router has acknowledged: from here on stopping it is a rollback
 *
 * At any step its traffic goes back by itself when its revision breaks; after the last one `planObservation` sees to it.
 */

const lookAgainMs = 1_000
/** Nothing but a change of a row moves on what waits for a person. */
const lookAgainForPersonMs = 60_000

/** How a deployment's traffic begins to move: `percent` of `latest`, which meant `previous`. */
export type Opening = { previous: string | null; percent: number }

/** All at once where there is nothing to divide: nothing served before, all traffic is pinned, or it is there already. */
export function openRollout(
  snapshot: ReconcileSnapshot,
  deployment: DeploymentFacts,
  revision: RevisionFacts,
  now: number,
): Opening {
  const previous = currentLatest(snapshot, deployment).revision
  const plan = rolloutPlan(snapshot)
  const follows = snapshot.service.traffic.some(
    (target) => target.revision === 'latest' && target.percent > 0,
  )
  const divides = follows && previous !== revision.name && deployment.trigger !== 'rollback'
  if (!divides || (previous === null && plan.strategy !== 'manual')) return { previous, percent: 100 }
  const decision = decide(deployment, { plan, previous, percent: 0, acknowledgedAt: null }, now)
  return { previous, percent: decision.kind === 'shift' ? decision.percent : 0 }
}

/** The next steps of a deployment whose traffic has begun to move. */
export function planRollout(
  snapshot: ReconcileSnapshot,
  deployment: DeploymentFacts,
  revision: RevisionFacts | undefined,
  now: number,
): Action[] {
  const { rollout } = deployment
  // Of an older version of Berth, whose shift is all at once, there is no progress.
  if (rollout === null || rollout.percent === 100 || !revision) {
    const broken = rollout && revision && mayGoBack(snapshot, deployment, revision, now)
    if (broken) return [takeBack(snapshot, deployment, rollout, { phase: 'failed', ...broken })]
    if (isAcknowledged(snapshot)) return [succeed(deployment, revision)]
    return [wait('every router to acknowledge the shift', now + lookAgainMs)]
  }
  const stopped = stoppedBy(deployment) ?? overruledBy(snapshot)
  if (stopped) return [takeBack(snapshot, deployment, rollout, { phase: 'cancelled', ...stopped })]
  const trouble = rolloutTrouble(snapshot, deployment, revision, now)
  if (trouble) return [takeBack(snapshot, deployment, rollout, { phase: 'failed', ...trouble })]
  const decision = decide(deployment, { plan: rolloutPlan(snapshot), ...rollout }, now)
  switch (decision.kind) {
    case 'acknowledge':
      return isAcknowledged(snapshot)
        ? [acknowledge(deployment, revision, rollout, now)]
        : [wait('every router to acknowledge the step', now + lookAgainMs)]
    case 'interval':
      return [wait(`the step to ${decision.nextPercent} %`, decision.untilMs)]
    case 'paused':
    case 'told':
      return [wait('somebody to promote the deployment', now + lookAgainForPersonMs)]
    case 'shift':
      return planStep(snapshot, { deployment, revision, rollout, percent: decision.percent }, now)
    case 'done':
      return []
  }
}

/** Trouble of a revision that has all of the traffic, while there is another one that can have it back. */
function mayGoBack(
  snapshot: ReconcileSnapshot,
  deployment: DeploymentFacts,
  revision: RevisionFacts,
  now: number,
): Trouble | null {
  const previous = deployment.rollout?.previous ?? null
  const isThere = previous !== revision.name && snapshot.revisions.some(({ name }) => name === previous)
  if (!isThere || deployment.trigger === 'rollback' || snapshot.service.pinnedRevision !== null) return null
  return rolloutTrouble(snapshot, deployment, revision, now)
}

/** Who stopped the deployment, or null. */
export function stoppedBy({ abortRequestedAt, cancelRequestedAt }: DeploymentFacts): Verdict | null {
  if (abortRequestedAt !== null) return { reason: 'RolloutAborted', message: 'aborted by the user' }
  if (cancelRequestedAt !== null) return { reason: 'Cancelled', message: 'cancelled by the user' }
  return null
}

/** The user has rolled back while the traffic was still moving. */
function overruledBy({ service }: ReconcileSnapshot): Verdict | null {
  if (service.pinnedRevision === null) return null
  return { reason: 'RolloutAborted', message: `all traffic was rolled back to ${service.pinnedRevision}` }
}

/** One step further, once the replicas for it are there. */
function planStep(
  snapshot: ReconcileSnapshot,
  step: { deployment: DeploymentFacts; revision: RevisionFacts; rollout: RolloutProgress; percent: number },
  now: number,
): Action[] {
  const { deployment, revision, rollout, percent } = step
  const up = bringUp(snapshot, { ...step, needed: replicasNeeded(snapshot, step) }, Infinity, now)
  if (up.kind === 'steps') return up.actions
  if (up.kind === 'failed')
    return [takeBack(snapshot, deployment, rollout, { phase: 'failed', ...up.verdict })]
  const { previous } = rollout
  return [shift(snapshot, deployment, revision, { previous, percent, ready: up.replicas }, now)]
}

export function shift(
  snapshot: ReconcileSnapshot,
  deployment: DeploymentFacts,
  revision: RevisionFacts,
  { previous, percent, ready }: Opening & { ready: number },
  now: number,
): Action {
  const isRollback = deployment.trigger === 'rollback'
  const whole = { revision: isRollback ? snapshot.status.latestReadyRevision : revision.name }
  const divided = { revision: previous, next: { revision: revision.name, percent } }
  const shiftedAt = new Date(now).toISOString()
  const startedAt = deployment.rollout?.startedAt ?? shiftedAt
  const rollout = { previous, percent, startedAt, shiftedAt, acknowledgedAt: null }
  return {
    kind: 'shift-traffic',
    traffic: resolveTraffic(snapshot, percent === 100 ? whole : divided),
    deployment: { id: deployment.id, message: describeStep(revision, percent, ready), rollout },
    ready:
      isRollback && ready === 0
        ? null
        : { uid: revision.uid, name: revision.name, latest: !isRollback && percent === 100 },
  }
}

function describeStep({ name }: RevisionFacts, percent: number, ready: number): string {
  const replicas = `${ready} ${ready === 1 ? 'replica' : 'replicas'} ready`
  if (percent === 0) return `${name} gets no traffic until it is promoted, ${replicas}`
  return percent === 100 ? `routing ${name}, ${replicas}` : `routing ${percent} % to ${name}, ${replicas}`
}

function acknowledge(
  { id }: DeploymentFacts,
  { name }: RevisionFacts,
  rollout: RolloutProgress,
  now: number,
): Action {
  const message = `every router sends ${rollout.percent} % to ${name}`
  const acknowledgedAt = new Date(now).toISOString()
  return { kind: 'note-rollout', deployment: id, rollout: { ...rollout, acknowledgedAt }, message }
}

function takeBack(
  snapshot: ReconcileSnapshot,
  deployment: DeploymentFacts,
  { previous, percent }: RolloutProgress,
  { phase, message, ...why }: Trouble & { phase: 'failed' | 'cancelled' },
): Action {
  // With all of the traffic `latest` came to mean the new one.
  const latest = percent === 100 ? previous : snapshot.status.latestReadyRevision
  const where =
    previous === null ? 'before it had traffic' : `at ${percent} % of the traffic, which ${previous} has back`
  return {
    kind: 'take-traffic-back',
    deployment: deployment.id,
    back: { traffic: resolveTraffic(snapshot, { revision: previous }), latest },
    end: { ...why, phase, message: `${where}: ${message}` },
  }
}

function succeed(deployment: DeploymentFacts, revision: RevisionFacts | undefined): Action {
  const name = revision?.name ?? deployment.revisionName ?? 'the revision'
  const isOld = revision !== undefined && revision.createdAt < deployment.startedAt
  const unchanged = isOld && deployment.trigger !== 'rollback'
  return {
    kind: 'finish-deployment',
    deployment: deployment.id,
    phase: 'succeeded',
    reason: null,
    message: unchanged ? `${name} is in place; image and template are unchanged` : `${name} is in place`,
  }
}

function decide(
  { pausedAt, promoteFrom, promoteTo }: DeploymentFacts,
  {
    plan,
    previous,
    percent,
    acknowledgedAt,
  }: Pick<RolloutProgress, 'previous' | 'percent' | 'acknowledgedAt'> & { plan: RolloutPlan },
  now: number,
): RolloutDecision {
  const decision = decideRollout(
    plan,
    {
      percent,
      acknowledgedAtMs: acknowledgedAt === null ? null : Date.parse(acknowledgedAt),
      paused: pausedAt !== null,
      promoteFrom,
      promoteTo,
    },
    now,
  )
  // Nobody is there who could have the rest.
  return decision.kind === 'shift' && previous === null ? { kind: 'shift', percent: 100 } : decision
}

function rolloutPlan({ service: { rollout } }: ReconcileSnapshot): RolloutPlan {
  const { strategy, steps, intervalSeconds } = wholeRollout(rollout)
  return { strategy, steps, intervalMs: intervalSeconds * 1000 }
}

function wait(reason: string, untilMs: number): Action {
  return { kind: 'wait', reason, untilMs }
}
