import { healthyResetMs, restartBackoffMs } from './backoff.ts'

/** An app that has ended, or that was ended since it hung. */
export type EndedApp = {
  /** How often in a row it ended before. */
  inARow: number
  /** How long it was ready this time, in ms. */
  healthyMs: number
}

export type RestartDecision = { inARow: number } & ({ kind: 'here'; waitMs: number } | { kind: 'elsewhere' })

/** So often in a row an app ends on one node before the node may be what is wrong. */
const endsUntilElsewhere = 3

/**
 * Restarts in place after 1 s, 2 s, 4 s and so on to 60 s; ten minutes of health begin anew. From the third end in a
 * row on the replica gives way to one on another node, if there is one for it (asked only then).
 */
export function decideRestart(app: EndedApp, otherNodeFits: () => boolean): RestartDecision {
  const inARow = app.healthyMs >= healthyResetMs ? 1 : app.inARow + 1
  if (inARow >= endsUntilElsewhere && otherNodeFits()) return { kind: 'elsewhere', inARow }
  return { kind: 'here', inARow, waitMs: restartBackoffMs(inARow, 0) }
}
