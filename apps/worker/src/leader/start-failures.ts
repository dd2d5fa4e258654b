import type { RevisionUid } from '@berth/contracts'
import { restartBackoffMs } from '@berth/scheduler'
import type { Blocked } from './ports.ts'

/** Failed starts in a row after which requests that wait are answered instead of held. */
const failuresUntilBlocked = 3

/** How often a revision's starts have failed in a row, and when the next one may be tried. */
export type StartFailures = {
  failed(revision: RevisionUid, failure: Blocked): void
  succeeded(revision: RevisionUid): void
  /** Whether another start may be tried now. */
  mayStart(revision: RevisionUid): boolean
  /** Why nobody should wait for this revision now; null while a start is worth waiting for. */
  blocked(revision: RevisionUid): Blocked | null
  forget(isKnown: (revision: RevisionUid) => boolean): void
}

export function createStartFailures(now: () => number): StartFailures {
  const failures = new Map<RevisionUid, { inARow: number; nextAt: number; last: Blocked }>()
  return {
    failed(revision, { reason, message }) {
      const inARow = (failures.get(revision)?.inARow ?? 0) + 1
      const nextAt = now() + restartBackoffMs(inARow, 0)
      failures.set(revision, { inARow, nextAt, last: { reason, message } })
    },
    succeeded: (revision) => void failures.delete(revision),
    mayStart: (revision) => now() >= (failures.get(revision)?.nextAt ?? 0),
    blocked(revision) {
      const known = failures.get(revision)
      return known && known.inARow >= failuresUntilBlocked && now() < known.nextAt ? known.last : null
    },
    forget(isKnown) {
      for (const revision of failures.keys()) if (!isKnown(revision)) failures.delete(revision)
    },
  }
}
