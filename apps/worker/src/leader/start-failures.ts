import { reasonCatalogue, type RevisionUid } from '@berth/contracts'
import { restartBackoffMs } from '@berth/scheduler'
import type { Failure } from '../replicas/index.ts'
import type { Blocked } from './ports.ts'

/** Failed starts in a row after which requests that wait are answered instead of held. */
const failuresUntilBlocked = 3

/** How often a revision's starts have failed in a row, and when the next one may be tried. */
export type StartFailures = {
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
    failed(revision, { reason, message }) {
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
