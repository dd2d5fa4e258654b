import type { ExplanationFinding } from '@berth/contracts'
import type { desired, RevisionFacts } from '@berth/db'
import { nextTry } from './next-try.ts'
import { placementOutlook } from './placement-refusals.ts'
import { plain, sentence } from './sentences.ts'

type Facts = desired.ExplanationFacts

/** How each revision stands that has traffic, a tag or the open deployment: its share, its replicas, its place. */
export function revisionFindings(facts: Facts): ExplanationFinding[] {
  return relevantRevisions(facts).flatMap((revision) => findingsOf(facts, revision))
}

/** In the order of their numbers. */
function relevantRevisions({ revisions, status, open }: Facts): RevisionFacts[] {
  const routed = new Set(status.traffic.map(({ revision }) => revision))
  return revisions.filter(({ uid, name }) => routed.has(name) || uid === open?.revisionUid)
}

function findingsOf(facts: Facts, revision: RevisionFacts): ExplanationFinding[] {
  const { name, failure } = revision
  const own = facts.replicas.filter(({ revisionUid }) => revisionUid === revision.uid)
  const live = own.filter(({ state }) => state === 'starting' || state === 'ready')
  const told = { about: 'revision', revision: name } as const
  const wakes = failure === null && facts.status.traffic.some(({ revision: routed }) => routed === name)
  const findings: ExplanationFinding[] = [
    { ...told, severity: 'info', message: `${name} ${shareOf(facts, revision)}: ${countsOf(own, wakes)}.` },
  ]
  if (failure !== null)
    findings.push({
      ...told,
      severity: 'error',
      message: `${sentence(`${name} does not start: ${failure.reason}, ${plain(failure.message)}`)}${nextTry(failedInARow(own), facts.readAt)}`,
    })
  const unplaced = failure?.reason === 'Unplaceable' || isStuck(facts, revision)
  if (live.length > 0 && !unplaced) return findings
  return [...findings, ...placementFindings(facts, revision, unplaced)]
}

/** Those that failed since one was ready the last time. */
function failedInARow(replicas: readonly desired.ExplainedReplica[]): desired.ExplainedReplica[] {
  const lastReady = Math.max(0, ...replicas.map(({ readyAt }) => readyAt?.getTime() ?? 0))
  return replicas.filter(
    ({ state, failedAt }) => state === 'failed' && (failedAt?.getTime() ?? 0) > lastReady,
  )
}

function isStuck({ open }: Facts, { uid }: RevisionFacts): boolean {
  return open?.revisionUid === uid && open.reason === 'Unplaceable'
}

/** With nothing running: whether a replica would find a place. That none does is bad only once one is wanted. */
function placementFindings(facts: Facts, revision: RevisionFacts, unplaced: boolean): ExplanationFinding[] {
  const { fits, refusals } = placementOutlook(facts, revision)
  if (fits === null && unplaced) return refusals
  if (fits === null) return refusals.map((refusal) => ({ ...refusal, severity: 'warning' }))
  return [
    {
      about: 'placement',
      severity: 'info',
      revision: revision.name,
      message: `One more replica of ${revision.name} would fit now, on ${fits} for one.`,
    },
  ]
}

function shareOf({ status, open }: Facts, { uid, name }: RevisionFacts): string {
  const targets = status.traffic.filter(({ revision }) => revision === name)
  const percent = targets.reduce((sum, target) => sum + target.percent, 0)
  const tags = targets.flatMap(({ tag }) => tag ?? [])
  const tagged = tags.length === 0 ? '' : `, tagged ${tags.join(' and ')}`
  if (targets.length === 0 && uid === open?.revisionUid) return 'is being deployed and gets no traffic yet'
  return `gets ${percent} % of the traffic${tagged}`
}

/** "2 running, 1 starting" in the order in which replicas come and go. */
function countsOf(replicas: readonly desired.ExplainedReplica[], wakes: boolean): string {
  const kinds = ['starting', 'running', 'frozen', 'parked', 'draining', 'failed'] as const
  const kindOf = ({ state, rung }: desired.ExplainedReplica) => (state === 'ready' ? rung : state)
  const counts = kinds.flatMap((kind) => {
    const count = replicas.filter((replica) => kindOf(replica) === kind).length
    return count === 0 ? [] : [`${count} ${kind}`]
  })
  const idle = replicas.every(({ state }) => state === 'failed' || state === 'draining')
  const none = wakes ? 'no replica: the next request starts one' : 'no replica'
  const counted = counts.length === 0 ? [] : [`replicas ${counts.join(', ')}`]
  return [...(idle ? [none] : []), ...counted].join('; ')
}
