import { observationMs, type DeploymentFacts, type ReconcileSnapshot } from '@berth/db'
import type { Action } from './action.ts'
import { rolloutTrouble } from './rollout-trouble.ts'
import { resolveTraffic } from './wanted-traffic.ts'

/**
 * After a deployment has succeeded its revision is observed for a while: when it breaks in that time, the traffic of
 * `latest` goes back to the revision that had it before. A pin of the user's, or a newer deployment, ends that.
 */
export function planObservation(snapshot: ReconcileSnapshot, now: number): Action[] {
  const { lastFinished, service, status } = snapshot
  const observed = lastFinished && observedUntil(lastFinished)
  if (!lastFinished || observed === null || now >= observed || service.pinnedRevision !== null) return []
  const revision = snapshot.revisions.find(({ uid }) => uid === lastFinished.revisionUid)
  const previous = lastFinished.rollout?.previous ?? null
  const hasPrevious = snapshot.revisions.some(({ name }) => name === previous)
  const follows = service.traffic.some((target) => target.revision === 'latest' && target.percent > 0)
  if (!revision || !hasPrevious || !follows || previous === revision.name) return []
  if (status.latestReadyRevision !== revision.name) return []
  const trouble = rolloutTrouble(snapshot, lastFinished, revision, now)
  if (trouble === null) return [{ kind: 'wait', reason: `${revision.name} to stay well`, untilMs: observed }]
  return [
    {
      kind: 'roll-back',
      deployment: lastFinished.id,
      back: { traffic: resolveTraffic(snapshot, { revision: previous }), latest: previous },
      why: { ...trouble, message: `${previous} serves again: ${trouble.message}` },
    },
  ]
}

function observedUntil({ phase, finishedAt, rolledBack }: DeploymentFacts): number | null {
  if (phase !== 'succeeded' || finishedAt === null || rolledBack !== null) return null
  return finishedAt.getTime() + observationMs
}
