import { wholeRollout, type DeploymentId, type RevisionUid } from '@berth/contracts'
import type { ObservedRollout, RolloutTrouble } from '@berth/db'
import { failsTooMuch, tellsEnough, type Answers } from '@berth/scheduler'

export type RolloutWatchOptions = {
  /** Rollouts whose traffic may still go back. */
  observed(): Promise<ObservedRollout[]>
  /** What routers have reported of a revision between two moments of `now()`. */
  answers(revision: RevisionUid, from: number, to: number): Answers
  /** Keeps what the revision before has answered for a leader that comes after this one. */
  remember(deployment: DeploymentId, before: Answers): void
  /** Writes down that the traffic should go back; the reconciler takes it back. */
  report(deployment: DeploymentId, trouble: RolloutTrouble): void
  now: () => number
}

const windowMs = 60_000

/**
 * Compares the answers of a new revision with those of the one before, for as long as its traffic may go back. Begins
 * with the leader's first look at it: a new leader counts what the new revision answers anew, and compares it with what
 * the leader before has kept of the revision before.
 */
export function createRolloutWatch(options: RolloutWatchOptions): { tick(): Promise<void> } {
  const { now } = options
  const seenSince = new Map<DeploymentId, number>()

  /** In the same time; of a revision that has no traffic any more, in the minute before that. */
  function answersBefore({ previous, answersBefore: kept }: ObservedRollout, since: number): Answers {
    const meanwhile = options.answers(previous, Math.max(since, now() - windowMs), now())
    return tellsEnough(meanwhile) ? meanwhile : (kept ?? minuteBefore(previous, since))
  }

  function minuteBefore(previous: RevisionUid, since: number): Answers {
    return options.answers(previous, since - windowMs, since)
  }

  function firstLook({ deployment, previous, answersBefore: kept }: ObservedRollout): number {
    const since = now()
    seenSince.set(deployment, since)
    const before = minuteBefore(previous, since)
    if (kept === null && tellsEnough(before)) options.remember(deployment, before)
    return since
  }

  function judge(observed: ObservedRollout): void {
    const { deployment, name, revision, rollout } = observed
    const since = seenSince.get(deployment) ?? firstLook(observed)
    const { maxErrorPercent } = wholeRollout(rollout)
    if (maxErrorPercent === 'never') return
    const after = options.answers(revision, Math.max(since, now() - windowMs), now())
    const before = answersBefore(observed, since)
    if (!failsTooMuch(after, before, maxErrorPercent)) return
    const message = `${name} failed ${shareOf(after)}, the revision before ${shareOf(before)}`
    options.report(deployment, { reason: 'ErrorRate', message })
  }

  return {
    async tick() {
      const observed = await options.observed()
      for (const rollout of observed) judge(rollout)
      const ids = new Set(observed.map(({ deployment }) => deployment))
      for (const id of seenSince.keys()) if (!ids.has(id)) seenSince.delete(id)
    },
  }
}

function shareOf({ failed, requests }: Answers): string {
  return `${failed} of ${requests} requests (${Math.round((100 * failed) / requests)} %)`
}
