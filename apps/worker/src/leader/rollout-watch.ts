import { wholeRollout, type DeploymentId, type RevisionUid } from '@berth/contracts'
import type { ObservedRollout, RolloutTrouble } from '@berth/db'
import { failsTooMuch, tellsEnough, type Answers } from '@berth/scheduler'

export type RolloutWatchOptions = {
  /** Rollouts whose traffic may still go back. */
  observed(): Promise<ObservedRollout[]>
  /** What routers have reported of a revision between two moments of `now()`. */
  answers(revision: RevisionUid, from: number, to: number): Answers
  /** Writes down that the traffic should go back; the reconciler takes it back. */
  report(deployment: DeploymentId, trouble: RolloutTrouble): void
  now: () => number
}

const windowMs = 60_000

/**
 * Compares the answers of a new revision with those of the one before, for as long as its traffic may go back. Begins
 * with the leader's first look at it, so that a new leader judges by what it has seen itself.
 */
export function createRolloutWatch(options: RolloutWatchOptions): { tick(): Promise<void> } {
  const { now } = options
  const seenSince = new Map<DeploymentId, number>()

  /** In the same time; of a revision that has no traffic any more, in the minute before that. */
  function answersBefore(previous: RevisionUid, since: number): Answers {
    const meanwhile = options.answers(previous, Math.max(since, now() - windowMs), now())
    return tellsEnough(meanwhile) ? meanwhile : options.answers(previous, since - windowMs, since)
  }

  function judge({ deployment, name, revision, previous, rollout }: ObservedRollout): void {
    const since = seenSince.get(deployment) ?? now()
    seenSince.set(deployment, since)
    const { maxErrorPercent } = wholeRollout(rollout)
    if (maxErrorPercent === 'never') return
    const after = options.answers(revision, Math.max(since, now() - windowMs), now())
    const before = answersBefore(previous, since)
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
