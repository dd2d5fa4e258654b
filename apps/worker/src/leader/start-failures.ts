import { reasonCatalogue, type RevisionUid } from '@berth/contracts'
import { restartBackoffMs, waitLeftMs } from '@berth/scheduler'
import type { Failure } from '../replicas/index.ts'
import type { Blocked } from './ports.ts'
import type { ReplicaView } from './world-model.ts'

/** Failed starts in a row after which requests that wait are answered instead of held. */
const failuresUntilBlocked = 3

/** How often a revision's starts have failed in a row, and when the next one may be tried. */
export type StartFailures = {
  /** Goes on from what the rows of failed replicas tell that an earlier leader has seen. */
  recall(replicas: readonly ReplicaView[]): void
  /** A lost node says nothing about the revision, and is not counted. */
  failed(revision: RevisionUid, failure: Failure): void
  succeeded(revision: RevisionUid): void
  /** Whether another start may be tried now. */
  mayStart(revision: RevisionUid): boolean
  /**
   * Why nobody should wait for this revision now; null while a start is worth waiting for. It reaches Redis and
   * whoever asks at the edge, so it says nothing that the app has printed.
   */
  blocked(revision: RevisionUid): Blocked | null
  /** Why it does not start, for its owner: from the third failure in a row until a start succeeds. */
  lasting(revision: RevisionUid): Failure | null
  forget(isKnown: (revision: RevisionUid) => boolean): void
}

export function createStartFailures(now: () => number): StartFailures {
  const failures = new Map<RevisionUid, { inARow: number; nextAt: number; last: Failure }>()

  function lasting(revision: RevisionUid): Failure | null {
    const known = failures.get(revision)
    return known && known.inARow >= failuresUntilBlocked ? known.last : null
  }

  return {
    recall(replicas) {
      for (const [revision, own] of Map.groupBy(replicas, ({ revisionUid }) => revisionUid)) {
        const failed = failedSinceReady(own)
        const last = failed.at(-1)
        if (last === undefined) continue
        const inARow = failed.length
        const leftMs = waitLeftMs(restartBackoffMs(inARow, 0), last.at, Date.now())
        failures.set(revision, { inARow, nextAt: now() + leftMs, last: last.failure })
      }
    },
    failed(revision, { reason, message }) {
      if (reason === 'NodeLost') return
      const inARow = (failures.get(revision)?.inARow ?? 0) + 1
      const nextAt = now() + restartBackoffMs(inARow, 0)
      failures.set(revision, { inARow, nextAt, last: { reason, message } })
    },
    succeeded: (revision) => void failures.delete(revision),
    mayStart: (revision) => now() >= (failures.get(revision)?.nextAt ?? 0),
    blocked(revision) {
      const last = lasting(revision)
      if (last === null || now() >= (failures.get(revision)?.nextAt ?? 0)) return null
      return { reason: last.reason, message: reasonCatalogue[last.reason].meaning }
    },
    lasting,
    forget(isKnown) {
      for (const revision of failures.keys()) if (!isKnown(revision)) failures.delete(revision)
    },
  }
}

/** Oldest first: what failed after a replica of the revision became ready for the last time. */
function failedSinceReady(replicas: readonly ReplicaView[]): { at: number; failure: Failure }[] {
  const lastReady = Math.max(0, ...replicas.map(({ readyAt }) => readyAt?.getTime() ?? 0))
  return replicas
    .flatMap(({ state, failedAt, reason, message }) => {
      if (state !== 'failed' || failedAt === null || reason === null || reason === 'NodeLost') return []
      return [{ at: failedAt.getTime(), failure: { reason, message: message ?? '' } }]
    })
    .filter(({ at }) => at > lastReady)
    .toSorted((a, b) => a.at - b.at)
}
