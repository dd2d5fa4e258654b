import type { Finding, RequestTarget, Target } from './fault.ts'
import type { Tally } from './prober/tally.ts'

/** `missed` decides the exit code; `late` is printed only, because a busy machine is not a broken promise. */
export type Verdict = { missed: string[]; late: string[] }

/** Compares what was promised with what was seen. */
export function judge(target: Target, tally: Tally, finding: Finding): Verdict {
  const missed = [...missedRequests(target.requests, tally, finding.injectedAt), ...finding.problems]
  const late = [
    ...lateBy('answered again', tally.longestGapMs, target.gapSeconds),
    ...lateBy('detected', finding.detectMs, target.detectSeconds),
    ...lateBy('healed', finding.healMs, target.healSeconds),
  ]
  return { missed, late }
}

function missedRequests(target: RequestTarget, tally: Tally, injectedAt: number): string[] {
  if (target.kind === 'measured') return []
  if (target.kind === 'none-sent-after') {
    const after = tally.failures.filter(({ sentAt }) => sentAt > injectedAt + target.ms)
    return after.length === 0
      ? []
      : [
          `${after.length} requests failed that were sent later than ${target.ms / 1000} s after the injection`,
        ]
  }
  const { atLeast = 1 } = target
  return [
    ...(tally.failed > 0 ? [`${tally.failed} of ${tally.sent} requests failed`] : []),
    ...(tally.sent < atLeast ? [`only ${tally.sent} requests of at least ${atLeast} were sent`] : []),
  ]
}

function lateBy(what: string, ms: number | undefined, seconds: number | undefined): string[] {
  if (ms === undefined || seconds === undefined || ms <= seconds * 1000) return []
  return [`${what} after ${(ms / 1000).toFixed(1)} s instead of ${seconds} s`]
}
