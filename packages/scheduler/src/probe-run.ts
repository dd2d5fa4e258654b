/** How many results in a row it takes; both at least 1. */
export type ProbeThresholds = { successThreshold: number; failureThreshold: number }

/**
 * passing   what a probe guards is in order
 * failing   after `failureThreshold` failures in a row, until `successThreshold` successes in a row
 */
export type ProbeVerdict = 'passing' | 'failing'

/** The verdict of a probe, and how many results like the last one it has had in a row. */
export type ProbeRun = { verdict: ProbeVerdict; last: 'success' | 'failure' | null; inARow: number }

/** A probe of which no result counts yet. */
export function newProbeRun(verdict: ProbeVerdict): ProbeRun {
  return { verdict, last: null, inARow: 0 }
}

/** The run after one more result, as Kubernetes counts: a different result begins the count anew. */
export function noteProbeResult(run: ProbeRun, ok: boolean, thresholds: ProbeThresholds): ProbeRun {
  const last = ok ? 'success' : 'failure'
  const inARow = run.last === last ? run.inARow + 1 : 1
  const enough = inARow >= (ok ? thresholds.successThreshold : thresholds.failureThreshold)
  if (!enough) return { verdict: run.verdict, last, inARow }
  return { verdict: ok ? 'passing' : 'failing', last, inARow }
}
