import type { ConditionStatus } from '@berth/contracts'
import type { Condition, DeploymentFacts, ReconcileSnapshot } from '@berth/db'
import { drainTrouble } from './plan-node-drain.ts'
import { serves } from './wanted-traffic.ts'

type Verdict = { status: ConditionStatus; reason: string; message: string }

/** Whether the service answers, and if not, why. The transition time changes with the status only. */
export function readyCondition(
  snapshot: ReconcileSnapshot,
  active: DeploymentFacts | undefined,
  now: number,
): Condition {
  const verdict = judge(snapshot, active, now)
  const before = snapshot.status.ready
  const lastTransitionTime =
    before?.status === verdict.status ? before.lastTransitionTime : new Date(now).toISOString()
  return { type: 'Ready', ...verdict, lastTransitionTime }
}

export function sameCondition(a: Condition | null, b: Condition): boolean {
  return a !== null && a.status === b.status && a.reason === b.reason && a.message === b.message
}

function judge(snapshot: ReconcileSnapshot, active: DeploymentFacts | undefined, now: number): Verdict {
  const { service, lastFinished } = snapshot
  if (service.deletedAt !== null)
    return { status: 'False', reason: 'Deleting', message: 'the service is being deleted' }
  const last = lastFinished && lastFinished.phase !== 'succeeded' ? lastFinished : null
  if (serves(snapshot)) return judgeServing(snapshot, active, last, now)
  if (active) {
    if (active.reason !== null)
      return { status: 'False', reason: active.reason, message: active.message ?? active.reason }
    return { status: 'Unknown', reason: 'Deploying', message: `the first deployment is ${active.phase}` }
  }
  if (last)
    return { status: 'False', reason: last.reason ?? 'StartFailed', message: last.message ?? last.phase }
  return { status: 'Unknown', reason: 'Deploying', message: 'nothing has been deployed yet' }
}

function judgeServing(
  snapshot: ReconcileSnapshot,
  active: DeploymentFacts | undefined,
  last: DeploymentFacts | null,
  now: number,
): Verdict {
  const routed = snapshot.status.traffic.filter(({ percent }) => percent > 0)
  const names = [...new Set(routed.map(({ revision }) => revision))]
  const broken = snapshot.revisions.find(({ name, failure }) => names.includes(name) && failure !== null)
  if (broken?.failure) return { status: 'False', ...broken.failure }
  const serving = `${names.join(', ')} ${names.length === 1 ? 'serves' : 'serve'}`
  const pinned = snapshot.service.pinnedRevision
  const drain = active ? null : drainTrouble(snapshot, now)
  const parts = [
    pinned !== null && names.includes(pinned) ? `${serving}, pinned by a rollback` : serving,
    ...(active ? [`a deployment is ${active.phase}${active.message ? ` (${active.message})` : ''}`] : []),
    ...(!active && last
      ? [`the last deployment ${endOf(last)}${last.message ? `: ${last.message}` : ''}`]
      : []),
    ...(!active && snapshot.lastFinished?.rolledBack ? [rolledBack(snapshot.lastFinished)] : []),
    ...(drain === null ? [] : [drain]),
  ]
  return { status: 'True', reason: 'Serving', message: parts.join('; ') }
}

function rolledBack({ revisionName, rolledBack: why }: DeploymentFacts): string {
  return `${revisionName} was rolled back by itself (${why?.reason}): ${why?.message}`
}

function endOf({ phase, revisionName, reason }: DeploymentFacts): string {
  const of = revisionName === null ? '' : `of ${revisionName} `
  if (phase === 'cancelled') return `${of}was cancelled`
  return `${of}failed${reason === null ? '' : ` (${reason})`}`
}
