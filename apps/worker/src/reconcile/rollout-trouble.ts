import type { Reason } from '@berth/contracts'
import type { DeploymentFacts, ReconcileSnapshot, ReplicaFacts, RevisionFacts } from '@berth/db'
import { crashLoopWindowMs, isCrashLoop } from '@berth/scheduler'
import { crashReasons } from './bring-up.ts'

export type Trouble = { reason: Reason; message: string; node?: string }

/** Where no other revision would fare better. */
const placeReasons: readonly string[] = ['Unplaceable', 'NodeLost', 'EngineError']

/**
 * Why the traffic of a deployment should go back to what served before: what the leader has seen in the answers of its
 * revision, apps that end again and again, or nothing of it that can run. Null while all is well.
 */
export function rolloutTrouble(
  snapshot: ReconcileSnapshot,
  { trouble, rollout }: DeploymentFacts,
  revision: RevisionFacts,
  now: number,
): Trouble | null {
  if (trouble !== null) return trouble
  const own = snapshot.replicas.filter(({ revisionUid }) => revisionUid === revision.uid)
  const since = rollout === null ? now : Date.parse(rollout.startedAt)
  const ends = own.flatMap((replica) => endsOf(replica).map((at) => ({ at, replica })))
  const counted = ends.filter(({ at }) => at >= since).toSorted((a, b) => a.at - b.at)
  const last = counted.at(-1)
  if (
    last &&
    isCrashLoop(
      counted.map(({ at }) => at),
      now,
    )
  )
    return crashLoop(snapshot, revision, last.replica)
  const { failure } = revision
  if (failure === null || placeReasons.includes(failure.reason)) return null
  if (own.some(({ state }) => state === 'ready')) return null
  return { reason: 'CrashLoop', message: `nothing of ${revision.name} can run: ${failure.message}` }
}

function crashLoop(snapshot: ReconcileSnapshot, { name }: RevisionFacts, last: ReplicaFacts): Trouble {
  const node = snapshot.nodes.find(({ uid }) => uid === last.nodeUid)?.name
  const where = node === undefined ? '' : ` on ${node}`
  const seconds = crashLoopWindowMs / 1000
  const why = last.message === null ? '' : `: ${last.message}`
  return {
    reason: 'CrashLoop',
    message: `${name} ended three times within ${seconds} s, last${where}${why}`,
    ...(node === undefined ? {} : { node }),
  }
}

/** When the replica's app ended by itself, in ms since 1970. */
function endsOf({ ends, failedAt, reason }: ReplicaFacts): number[] {
  const failed = failedAt !== null && crashReasons.includes(reason ?? '') ? [failedAt.getTime()] : []
  return [...ends.map((at) => Date.parse(at)), ...failed]
}
