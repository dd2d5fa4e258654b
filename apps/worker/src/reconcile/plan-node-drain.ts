import type { ReconcileSnapshot, ReplicaFacts, RevisionFacts } from '@berth/db'
import { restartBackoffMs, surgeScale } from '@berth/scheduler'
import type { Action } from './action.ts'
import { findPlaces } from './place.ts'

/*
 * Replicas on nodes that are drained:
 *
 * starting  stays until it is one of the others
 * idle      (frozen, parked) retires at once: it serves nobody
 * running   stays until another one that was started in its place elsewhere is ready, then retires
 */

const lookAgainMs = 5_000

type Replacement = Extract<Action, { kind: 'replace-replicas' }>

type Leave = {
  retiring: ReplicaFacts[]
  /** Running, and nobody has taken their place yet. */
  staying: ReplicaFacts[]
  replacements: Replacement[]
  /** Why nobody is started in the place of some of those that stay; null when somebody is. */
  stuck: string | null
}

/** The next steps of a service off the nodes that are drained. A deployment that is under way comes first. */
export function planNodeDrain(snapshot: ReconcileSnapshot, now: number): Action[] {
  const { retiring, staying, replacements } = planLeave(snapshot, now)
  const retire: Action[] =
    retiring.length === 0 ? [] : [{ kind: 'retire-replicas', replicas: retiring.map(({ id }) => id) }]
  const wait: Action[] =
    staying.length === 0
      ? []
      : [{ kind: 'wait', reason: 'replicas in the place of drained ones', untilMs: now + lookAgainMs }]
  return [...retire, ...replacements, ...wait]
}

/** For the service's condition: what stays on nodes that are drained, and why; null when all is on its way. */
export function drainTrouble(snapshot: ReconcileSnapshot, now: number): string | null {
  const { staying, stuck } = planLeave(snapshot, now)
  if (stuck === null) return null
  const here = new Set(staying.map(({ nodeUid }) => nodeUid))
  const names = snapshot.nodes.filter(({ uid }) => here.has(uid)).map(({ name }) => name)
  const replicas = staying.length === 1 ? '1 replica stays' : `${staying.length} replicas stay`
  return `${replicas} on the drained ${names.length === 1 ? 'node' : 'nodes'} ${names.join(', ')}: ${stuck}`
}

function planLeave(snapshot: ReconcileSnapshot, now: number): Leave {
  // Those on a node that does not answer are replaced when they count as lost.
  const drained = new Set(
    snapshot.nodes
      .filter(({ scheduling, reachability }) => scheduling === 'draining' && reachability === 'ready')
      .map(({ uid }) => uid),
  )
  const leaving = snapshot.replicas.filter(({ nodeUid, state }) => drained.has(nodeUid) && state === 'ready')
  const isReplaced = ({ id }: ReplicaFacts) => replacementsOf(snapshot, id, 'ready').length > 0
  const retiring = leaving.filter((replica) => replica.rung !== 'running' || isReplaced(replica))
  const staying = leaving.filter((replica) => !retiring.includes(replica))
  const waiting = staying.filter(({ id }) => replacementsOf(snapshot, id, 'starting').length === 0)
  return { retiring, staying, ...replace(snapshot, waiting, now) }
}

/** Starts as many in the place of `waiting` as the service may have above its `maxScale`, and as find a node. */
function replace(
  snapshot: ReconcileSnapshot,
  waiting: readonly ReplicaFacts[],
  now: number,
): Pick<Leave, 'replacements' | 'stuck'> {
  if (waiting.length === 0) return { replacements: [], stuck: null }
  const failures = waiting.flatMap(({ id }) => replacementsOf(snapshot, id, 'failed'))
  const lastFailedAt = Math.max(0, ...failures.map(({ failedAt }) => failedAt?.getTime() ?? 0))
  if (failures.length > 0 && now < lastFailedAt + restartBackoffMs(failures.length, 0))
    return { replacements: [], stuck: `what was started in its place failed (${failures.at(-1)?.reason})` }

  const atMost = surgeScale(snapshot.service.maxScale)
  let room = atMost - snapshot.replicas.filter(isCounted).length
  if (room <= 0) return { replacements: [], stuck: `the service has all the ${atMost} replicas it may have` }
  const replacements: Replacement[] = []
  let stuck: string | null = null
  for (const revision of snapshot.revisions) {
    const left = waiting.filter(({ revisionUid }) => revisionUid === revision.uid).slice(0, room)
    if (left.length === 0) continue
    const places = findPlaces(snapshot, revision, left.length, now)
    stuck ??= places.unplaceable
    if (places.nodes.length > 0) replacements.push(replacement(revision, left, places.nodes, atMost))
    room -= places.nodes.length
  }
  return { replacements, stuck: replacements.length > 0 ? null : stuck }
}

function replacement(
  { uid, name }: RevisionFacts,
  replicas: readonly ReplicaFacts[],
  nodes: Replacement['replacements'][number]['node'][],
  atMost: number,
): Replacement {
  const replacements = nodes.flatMap((node, index) => {
    const of = replicas[index]?.id
    return of === undefined ? [] : [{ of, node }]
  })
  return { kind: 'replace-replicas', revision: { uid, name }, replacements, atMost }
}

function replacementsOf(
  { replicas }: ReconcileSnapshot,
  id: ReplicaFacts['id'],
  state: ReplicaFacts['state'],
): ReplicaFacts[] {
  return replicas.filter((replica) => replica.replaces === id && replica.state === state)
}

/** As a reservation counts. */
function isCounted({ state, rung }: ReplicaFacts): boolean {
  return (state === 'starting' || state === 'ready') && rung !== 'parked'
}
