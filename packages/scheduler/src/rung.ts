/** Seconds without a request after which a replica steps down to a rung; 'never' skips the rung. */
export type IdleTimes = {
  freezeAfterSeconds: number | 'never'
  parkAfterSeconds: number | 'never'
  coldAfterSeconds: number | 'never'
}

export type IdleReplica = {
  rung: 'running' | 'frozen' | 'parked'
  /** Requests inside it, or undefined when no router has reported. */
  inFlight: number | undefined
  /** When its last request ended, or when it became ready if there was none, in ms; undefined when unknown. */
  lastRequestAt: number | undefined
  /** Replicas of its revision that run, itself included. */
  running: number
  /** What its revision always has running. */
  minScale: number
  /** False while a router's report, Redis or Postgres is missing. */
  signalsComplete: boolean
}

export type RungDecision =
  | { kind: 'step'; to: 'frozen' | 'parked' | 'cold'; idleMs: number }
  | {
      kind: 'stay'
      reason: 'busy' | 'signalsMissing' | 'minScale' | 'notDue' | 'never'
      /** When to look again if nothing happens, in ms; null when time alone changes nothing. */
      dueAt: number | null
    }

const ladder = ['running', 'frozen', 'parked', 'cold'] as const

/**
 * The next step down the idle ladder, one rung at a time; a rung that is switched off is skipped.
 * The step still is an acknowledged withdrawal, so a request that comes meanwhile calls it off.
 */
export function decideRung(replica: IdleReplica, idle: IdleTimes, now: number): RungDecision {
  if (!replica.signalsComplete || replica.inFlight === undefined || replica.lastRequestAt === undefined)
    return { kind: 'stay', reason: 'signalsMissing', dueAt: null }
  if (replica.inFlight > 0) return { kind: 'stay', reason: 'busy', dueAt: null }
  if (replica.rung === 'running' && replica.running <= replica.minScale)
    return { kind: 'stay', reason: 'minScale', dueAt: null }

  const next = nextRung(replica.rung, idle)
  if (next === undefined) return { kind: 'stay', reason: 'never', dueAt: null }
  const dueAt = replica.lastRequestAt + next.afterSeconds * 1000
  if (now < dueAt) return { kind: 'stay', reason: 'notDue', dueAt }
  return { kind: 'step', to: next.to, idleMs: now - replica.lastRequestAt }
}

function nextRung(from: IdleReplica['rung'], idle: IdleTimes) {
  const after = {
    running: 'never',
    frozen: idle.freezeAfterSeconds,
    parked: idle.parkAfterSeconds,
    cold: idle.coldAfterSeconds,
  } as const
  for (const to of ladder.slice(ladder.indexOf(from) + 1)) {
    const afterSeconds = after[to]
    if (to !== 'running' && afterSeconds !== 'never') return { to, afterSeconds }
  }
  return undefined
}
