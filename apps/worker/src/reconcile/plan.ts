import type { DeploymentFacts, ReconcileSnapshot, ReplicaFacts } from '@berth/db'
import type { Action, ServiceMemory } from './action.ts'
import { planDeployment } from './plan-deployment.ts'
import { planObservation } from './plan-observation.ts'
import { planNodeDrain } from './plan-node-drain.ts'
import { readyCondition, sameCondition } from './ready-condition.ts'
import { currentLatest, isAcknowledged, resolveTraffic, sameTraffic } from './wanted-traffic.ts'

const deletionLookAgainMs = 1_000
/** The leader removes what a failed replica has left on its node as long as there is a row that tells it to. */
const failedCleanupMs = 5_000

/**
 * The next safe steps of a service, decided from one snapshot. Waits alone, or nothing, mean that it is where it
 * can be now. `now` is milliseconds since 1970 on the database's clock.
 */
export function plan(snapshot: ReconcileSnapshot, memory: ServiceMemory, now: number): Action[] {
  if (snapshot.service.deletedAt !== null) return planDeletion(snapshot, now)
  const active = snapshot.open.at(-1)
  // First of all, so that no rollout ends while its traffic is still divided.
  const actions: Action[] = [...planTraffic(snapshot, active), ...snapshot.open.slice(0, -1).map(supersede)]
  if (active) actions.push(...planDeployment(snapshot, active, memory, now))
  actions.push(...planRetirement(snapshot, active))
  if (!active) actions.push(...planObservation(snapshot, now))
  if (!active || isRollingOut(active)) actions.push(...planNodeDrain(snapshot, now))
  // The condition is about a state that stands still: while there is work it would be old at once.
  return actions.every(({ kind }) => kind === 'wait')
    ? [...planCondition(snapshot, active, now), ...actions]
    : actions
}

/** Its replicas are ready and its steps may take days: nothing else waits for their end. */
function isRollingOut({ rollout }: DeploymentFacts): boolean {
  return rollout !== null && rollout.percent < 100
}

function supersede({ id }: DeploymentFacts): Action {
  const message = 'a newer deployment took over'
  return { kind: 'finish-deployment', deployment: id, phase: 'superseded', reason: 'Superseded', message }
}

/** Changes of the traffic that need no deployment: splits, tags, pins. */
function planTraffic(snapshot: ReconcileSnapshot, active: DeploymentFacts | undefined): Action[] {
  // A rollback that must start replicas first shifts by itself when they are ready.
  if (active?.trigger === 'rollback' && active.phase !== 'shifting') return []
  const traffic = resolveTraffic(snapshot, currentLatest(snapshot, active))
  if (sameTraffic(traffic, snapshot.status.traffic)) return []
  // Nothing to serve instead: what is there stays, for example when a pin names a revision that is gone.
  if (!traffic.some(({ percent }) => percent > 0)) return []
  return [{ kind: 'shift-traffic', traffic, deployment: null, ready: null }]
}

/**
 * Replicas of revisions without traffic, tag or deployment. What may still get requests by a router's old table
 * stays until every router has acknowledged the new one.
 */
function planRetirement(snapshot: ReconcileSnapshot, active: DeploymentFacts | undefined): Action[] {
  const wanted = new Set<string>()
  if (active?.revisionUid) wanted.add(active.revisionUid)
  const routed = new Set(snapshot.status.traffic.map(({ revision }) => revision))
  const acknowledged = isAcknowledged(snapshot)
  for (const { uid, name, readyAt } of snapshot.revisions) {
    const mayBeRouted = readyAt !== null && !acknowledged
    if (routed.has(name) || mayBeRouted) wanted.add(uid)
  }
  return retire(snapshot.replicas.filter(({ revisionUid }) => !wanted.has(revisionUid)))
}

function planCondition(
  snapshot: ReconcileSnapshot,
  active: DeploymentFacts | undefined,
  now: number,
): Action[] {
  const { generation: observedGeneration } = snapshot.service
  const ready = readyCondition(snapshot, active, now)
  if (
    snapshot.status.observedGeneration === observedGeneration &&
    sameCondition(snapshot.status.ready, ready)
  )
    return []
  return [{ kind: 'set-condition', observedGeneration, ready }]
}

function planDeletion(snapshot: ReconcileSnapshot, now: number): Action[] {
  const ended: Action[] = snapshot.open.map(({ id }) => ({
    kind: 'finish-deployment',
    deployment: id,
    phase: 'cancelled',
    reason: 'Deleting',
    message: 'the service is being deleted',
  }))
  const unrouted: Action[] =
    snapshot.status.traffic.length === 0
      ? []
      : [{ kind: 'shift-traffic', traffic: [], deployment: null, ready: null }]
  const actions = [...ended, ...unrouted, ...retire(snapshot.replicas)]
  if (actions.length > 0) return actions
  const left = snapshot.replicas.filter(
    ({ state, failedAt }) =>
      state !== 'failed' || (failedAt !== null && now - failedAt.getTime() < failedCleanupMs),
  ).length
  if (left === 0 && isAcknowledged(snapshot)) return [{ kind: 'delete-service' }]
  const reason = left > 0 ? 'replicas to end' : 'every router to drop the routes'
  return [
    ...planCondition(snapshot, undefined, now),
    { kind: 'wait', reason, untilMs: now + deletionLookAgainMs },
  ]
}

function retire(replicas: readonly ReplicaFacts[]): Action[] {
  const live = replicas.filter(({ state }) => state === 'starting' || state === 'ready')
  return live.length === 0 ? [] : [{ kind: 'retire-replicas', replicas: live.map(({ id }) => id) }]
}
