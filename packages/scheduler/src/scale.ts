/** The requests that a revision had in flight and queued at one moment, in ms of the caller's clock. */
export type ConcurrencySample = { at: number; concurrency: number }

export type ScaleState = {
  /** Requests one replica may have in flight; 0 is unlimited. */
  concurrency: number
  /** What this revision always has. */
  minScale: number
  /** What this revision may have: starting, running and frozen together. Wins over `minScale`. */
  maxScale: number
  inFlight: number
  queued: number
  replicas: { starting: number; running: number; frozen: number; parked: number }
  /** Oldest first or not, a little more than the last 60 s; older ones do no harm. */
  window: readonly ConcurrencySample[]
  averageStartMs: number
  /** False while a router's report, Redis or Postgres is missing: nothing is taken away then. */
  signalsComplete: boolean
}

/**
 * steady          there is what is wanted
 * wake            from no replica that runs or starts to some
 * demand          more in flight and queued than the replicas are meant for
 * minScale        fewer than are always wanted
 * maxScale        demand asks for more than may be
 * surplus         more run than the last 60 s needed
 * signalsMissing  there may be a surplus, but nobody can tell
 */
export type ScaleReason =
  | 'steady'
  | 'wake'
  | 'demand'
  | 'minScale'
  | 'maxScale'
  | 'surplus'
  | 'signalsMissing'

export type ScaleDecision = {
  /** Replicas that should run or be starting now, within minScale..maxScale. */
  wanted: number
  /** How to get there, cheapest rung first. */
  unfreeze: number
  startParked: number
  create: number
  /** Running replicas to take out of balancing; they drain and then step down the ladder. */
  surplus: number
  reason: ScaleReason
  /** For the log: what the decision was made from. */
  inputs: { demand: number; target: number; byDemand: number; byWindow: number; byPeak: number }
}

const targetPercent = 70
/** Up to here a free slot more is a whole replica more: the target is the limit itself. */
const maxFullTargetConcurrency = 3
const unlimitedTarget = 100
const windowMs = 60_000
/** Reports come twice a second; so much may be missing at either end of the window. */
const windowSlackMs = 2000
const minPeakWindowMs = 6000

/** Requests that one replica is meant to have in flight: 70 % of concurrency, see design section 9. */
export function targetConcurrency(concurrency: number): number {
  if (concurrency === 0) return unlimitedTarget
  if (concurrency <= maxFullTargetConcurrency) return concurrency
  return (concurrency * targetPercent) / 100
}

/**
 * How many replicas a revision wants, and what to do about it now. Call it on every event that changes
 * the state, with `now` in ms of the clock of the samples.
 *
 *     wanted = ceil((in-flight + queued) / target), within minScale..maxScale
 *     to wake = wanted - running - starting: frozen first, then parked, then new
 *
 * Example: concurrency 80 (target 56), 100 in flight, 50 queued, 1 running, 1 starting: wanted 3, 1 to wake.
 * Replicas go by their own idle time (`decideRung`); `surplus` is only for traffic spread over too many.
 */
export function decideScale(state: ScaleState, now: number): ScaleDecision {
  const { replicas } = state
  const demand = state.inFlight + state.queued
  const byDemand = replicasFor(demand, state.concurrency)
  const recent = state.window.filter(({ at }) => at > now - windowMs && at <= now)
  const byWindow = replicasFor(average(recent), state.concurrency)
  const byPeak = replicasFor(peak(recent, state.averageStartMs, now), state.concurrency)

  const wanted = withinScale(byDemand, state)
  const missing = Math.max(0, wanted - replicas.running - replicas.starting)
  const unfreeze = Math.min(missing, replicas.frozen)
  const startParked = Math.min(missing - unfreeze, replicas.parked)
  const create = missing - unfreeze - startParked

  // The last one that runs is left to the ladder: it costs a waiting request if traffic comes back.
  const keep = withinScale(Math.max(1, byDemand, byWindow, byPeak), state)
  const excess = Math.max(0, replicas.running - keep)
  const maySee = state.signalsComplete && !isStale(state.window, now)
  const tooMany = Math.max(0, replicas.running - state.maxScale)
  const spread = isSpread(state.concurrency) && coversWindow(state.window, now) ? excess : tooMany
  const surplus = maySee ? spread : 0

  const inputs = { demand, target: targetConcurrency(state.concurrency), byDemand, byWindow, byPeak }
  const reason = reasonOf(state, { missing, byDemand, surplus, held: spread - surplus })
  return { wanted, unfreeze, startParked, create, surplus, reason, inputs }
}

/** What a service may have for the time of a rollout or a drain: 25 % above its maxScale, at least 1 (rounded up). */
export function surgeScale(maxScale: number): number {
  return maxScale + Math.ceil(maxScale / 4)
}

function replicasFor(demand: number, concurrency: number): number {
  // 0.7 has no exact binary form: 42 over 70 % of 4 must be 15 and not 16, so both sides stay whole numbers.
  return concurrency > maxFullTargetConcurrency
    ? Math.ceil((demand * 100) / (concurrency * targetPercent))
    : Math.ceil(demand / targetConcurrency(concurrency))
}

function withinScale(replicas: number, { minScale, maxScale }: ScaleState): number {
  return Math.min(maxScale, Math.max(minScale, replicas))
}

/** Up to this limit balancing is last-in-first-out, and the tail goes idle by itself. */
function isSpread(concurrency: number): boolean {
  return concurrency === 0 || concurrency > maxFullTargetConcurrency
}

function average(samples: readonly ConcurrencySample[]): number {
  if (samples.length === 0) return 0
  return samples.reduce((sum, sample) => sum + sample.concurrency, 0) / samples.length
}

/** A replica let go takes `averageStartMs` to come back, so the highest demand of twice that time is kept. */
function peak(samples: readonly ConcurrencySample[], averageStartMs: number, now: number): number {
  const since = now - Math.max(minPeakWindowMs, 2 * averageStartMs)
  return samples.reduce((most, { at, concurrency }) => (at > since ? Math.max(most, concurrency) : most), 0)
}

function isStale(window: readonly ConcurrencySample[], now: number): boolean {
  return !window.some(({ at }) => at <= now && at >= now - windowSlackMs)
}

function coversWindow(window: readonly ConcurrencySample[], now: number): boolean {
  return window.some(({ at }) => at <= now - windowMs + windowSlackMs)
}

function reasonOf(
  { replicas, maxScale }: ScaleState,
  seen: { missing: number; byDemand: number; surplus: number; held: number },
): ScaleReason {
  if (seen.byDemand > maxScale) return 'maxScale'
  if (seen.missing > 0) {
    if (seen.byDemand <= replicas.running + replicas.starting) return 'minScale'
    return replicas.running + replicas.starting === 0 ? 'wake' : 'demand'
  }
  if (seen.surplus > 0) return 'surplus'
  return seen.held > 0 ? 'signalsMissing' : 'steady'
}
