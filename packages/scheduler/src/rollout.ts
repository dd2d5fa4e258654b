import type { TrafficShare } from './traffic.ts'

/** How the traffic of `latest` goes over to a new revision. */
export type RolloutPlan = {
  strategy: 'immediate' | 'gradual' | 'manual'
  /** Percents in rising order; a last step of 100 is implied. */
  steps: readonly number[]
  intervalMs: number
}

export type RolloutState = {
  /** What the new revision has of the traffic of `latest`, 0 before the first step. */
  percent: number
  /** When every router had acknowledged that; null until then. In ms of the clock of `now`. */
  acknowledgedAtMs: number | null
  paused: boolean
  /** Somebody asked to leave the step at this percent for the next one, whatever the interval says. */
  promoteFrom: number | null
  /** Somebody asked for at least this percent at once. */
  promoteTo: number | null
}

/**
 * shift        give the new revision this percent now
 * acknowledge  wait for the routers: no step follows one that is not served everywhere
 * interval     wait until the time is up
 * paused, told wait for a person
 * done         it has everything and every router knows
 */
export type RolloutDecision =
  | { kind: 'shift'; percent: number }
  | { kind: 'acknowledge' }
  | { kind: 'interval'; nextPercent: number; untilMs: number }
  | { kind: 'paused' }
  | { kind: 'told' }
  | { kind: 'done' }

const whole = 100

/** The next step of a rollout. The percent only ever rises, and a step is not left before it is acknowledged. */
export function decideRollout(plan: RolloutPlan, state: RolloutState, now: number): RolloutDecision {
  const { percent, acknowledgedAtMs, promoteFrom, promoteTo } = state
  const begun = percent > 0
  if (begun && acknowledgedAtMs === null) return { kind: 'acknowledge' }
  if (percent >= whole) return { kind: 'done' }
  if (promoteTo !== null && promoteTo > percent) return { kind: 'shift', percent: Math.min(whole, promoteTo) }
  const nextPercent = nextRolloutPercent(plan, percent)
  if (promoteFrom === percent) return { kind: 'shift', percent: nextPercent }
  if (state.paused) return { kind: 'paused' }
  if (plan.strategy === 'manual') return { kind: 'told' }
  const untilMs = (acknowledgedAtMs ?? now) + plan.intervalMs
  if (begun && plan.strategy === 'gradual' && now < untilMs) return { kind: 'interval', nextPercent, untilMs }
  return { kind: 'shift', percent: nextPercent }
}

/** The step after `percent`: everything at once unless the rollout is gradual. */
function nextRolloutPercent({ strategy, steps }: RolloutPlan, percent: number): number {
  if (strategy !== 'gradual') return whole
  return Math.min(whole, steps.find((step) => step > percent) ?? whole)
}

/**
 * Divides each share of `latest` between the revision that it meant before and the new one. Rounded down, so that
 * the new one never has more than the step says; the rest stays where it was. A tag goes along with the new one, which
 * can so be looked at before anybody is sent there. Shares of other revisions are pins and stay as they are.
 *
 * Example: 25 % of a share of 90 is 22, and 68 stay.
 */
export function divideLatest<Share extends TrafficShare & { tag: string | null }>(
  shares: readonly Share[],
  { previous, next, percent }: { previous: string; next: string; percent: number },
): Share[] {
  return shares.flatMap((share) => {
    if (share.revision !== 'latest') return [share]
    const moved = Math.floor((share.percent * percent) / whole)
    const kept = share.percent - moved
    const parts: Share[] = []
    if (kept > 0) parts.push({ ...share, revision: previous, percent: kept, tag: null })
    if (moved > 0 || share.tag !== null) parts.push({ ...share, revision: next, percent: moved })
    return parts
  })
}
