import { splitQuotedLines } from '@berth/contracts'
import type { desired } from '@berth/db'

/**
 * Whose output says most about why the service is as it is. `quoted` are the lines that were kept when it failed; where
 * there are none, its log is asked.
 */
export type LastWords = { replica: string; revisionUid: string; quoted: string[] }

/**
 * The replica that failed last, else one that is started again after its app has ended, else one that does not get
 * ready. Null when none is in trouble.
 */
export function whoseLastWords(facts: desired.ExplanationFacts): LastWords | null {
  const byFailure = facts.replicas
    .filter(({ state }) => state === 'failed')
    .toSorted((a, b) => timeOf(b.failedAt) - timeOf(a.failedAt))
  const starting = facts.replicas.filter(({ state }) => state === 'starting')
  const restarting = starting.filter(({ reason }) => reason !== null)
  const last = byFailure[0] ?? restarting.at(-1) ?? starting.at(-1)
  if (last === undefined) return null
  return {
    replica: last.id,
    revisionUid: last.revisionUid,
    quoted: splitQuotedLines(last.message ?? '').lines,
  }
}

/** Lines that a deployment or a revision quotes of a replica that is forgotten by now. */
export function linesOfTheForgotten(facts: desired.ExplanationFacts): string[] {
  const routed = new Set(facts.status.traffic.map(({ revision }) => revision))
  const texts = [
    ...(facts.lastFinished?.phase === 'failed' ? [facts.lastFinished.message] : []),
    ...facts.revisions.filter(({ name }) => routed.has(name)).map(({ failure }) => failure?.message),
  ]
  return texts.map((text) => splitQuotedLines(text ?? '').lines).find(({ length }) => length > 0) ?? []
}

function timeOf(at: Date | null): number {
  return at?.getTime() ?? 0
}
