import { splitQuotedLines, type ExplanationFinding, type ExplanationView } from '@berth/contracts'
import type { Condition, desired, RevisionFacts } from '@berth/db'
import { restartBackoffMs } from '@berth/scheduler'
import { nextCommands, type CommandPlace } from './next-commands.ts'
import { placementOutlook } from './placement-refusals.ts'

/** What was found of an app's output; `unavailable` says why there is none where there should be some. */
export type FoundLines = { replica: string | null; lines: string[]; unavailable: string | null }

export type ExplanationInput = {
  facts: desired.ExplanationFacts
  /** As the service shows it. */
  condition: Condition
  lines: FoundLines
  place: CommandPlace
}

type Facts = desired.ExplanationFacts

/** Failed replicas that are told one by one; the others say the same. */
const toldFailures = 5

/** Puts what is known into sentences: first the service, then what it is made of, from the cause to its effect. */
export function explain(input: ExplanationInput): ExplanationView {
  const { facts, condition, lines } = input
  const findings = [
    conditionFinding(condition),
    ...deploymentFindings(facts),
    ...relevantRevisions(facts).flatMap((revision) => revisionFindings(facts, revision)),
    ...replicaFindings(facts),
    ...nodeFindings(facts),
    ...(lines.unavailable === null
      ? []
      : [{ about: 'logs', severity: 'warning', message: lines.unavailable } as const]),
  ]
  return {
    service: facts.service.name,
    summary: summaryOf(facts, condition, findings),
    ready: condition.status,
    findings,
    lastLinesOf: lines.replica,
    lastLines: lines.lines,
    next: nextCommands(facts, condition, input.place),
  }
}

function summaryOf(
  facts: Facts,
  { status, reason, message }: Condition,
  findings: ExplanationFinding[],
): string {
  const { name } = facts.service
  if (facts.service.deletedAt !== null) return `${name} is being deleted.`
  const why = sentence(plain(message))
  const whole =
    status === 'True'
      ? `${name} is ready: ${why}`
      : status === 'False'
        ? `${name} is not ready (${reason}): ${why}`
        : `Whether ${name} is ready is not known yet: ${why}`
  const beside = findings.filter(({ about, severity }) => severity !== 'info' && about !== 'service').length
  if (status !== 'True' || beside === 0) return whole
  return `${whole} ${beside === 1 ? 'One thing stands' : `${beside} things stand`} out beside that.`
}

function conditionFinding({ status, reason, message, lastTransitionTime }: Condition): ExplanationFinding {
  const state = { True: 'Ready', False: 'Not ready', Unknown: 'Not ready yet' }[status]
  return {
    about: 'service',
    severity: status === 'False' ? 'error' : 'info',
    message: `${state}, ${reason}: ${sentence(plain(message))}`,
    at: lastTransitionTime,
  }
}

function deploymentFindings({ open, lastFinished, replicas, readAt }: Facts): ExplanationFinding[] {
  const findings: ExplanationFinding[] = []
  if (open !== null) {
    const trouble =
      open.reason === null ? '' : ` and does not get on (${open.reason}: ${plain(open.message ?? '')})`
    const failed = replicas.filter(
      ({ deploymentId, state }) => deploymentId === open.id && state === 'failed',
    )
    findings.push({
      about: 'deployment',
      severity: open.reason === null && failed.length === 0 ? 'info' : 'warning',
      message: `Deployment ${open.id} is ${open.phase}${trouble}.${nextTry(failed, readAt)}`,
      ...about(open),
      at: open.startedAt.toISOString(),
    })
  }
  if (lastFinished !== null && lastFinished.phase === 'failed') {
    const { reason, message } = lastFinished
    findings.push({
      about: 'deployment',
      severity: 'error',
      message: sentence(
        `The last deployment that ended, ${lastFinished.id}, failed: ${reason ?? 'StartFailed'}, ${plain(message ?? 'no message')}`,
      ),
      ...about(lastFinished),
      at: lastFinished.startedAt.toISOString(),
    })
  }
  return findings
}

function about({ node, revisionName }: desired.ExplainedDeployment) {
  return {
    ...(node === null ? {} : { node }),
    ...(revisionName === null ? {} : { revision: revisionName }),
  }
}

/** When a start is tried again after `failed`: 1 s after the first failure, twice as long after each further one. */
function nextTry(failed: readonly desired.ExplainedReplica[], readAt: Date): string {
  const lastAt = Math.max(0, ...failed.map(({ failedAt }) => failedAt?.getTime() ?? 0))
  if (lastAt === 0) return ''
  const waitMs = restartBackoffMs(failed.length, 0)
  const leftMs = lastAt + waitMs - readAt.getTime()
  const starts = failed.length === 1 ? '1 start has' : `${failed.length} starts have`
  const next = leftMs > 0 ? `in ${seconds(leftMs)}` : 'now'
  return ` ${starts} failed; the back-off is ${seconds(waitMs)}, the next try is due ${next}.`
}

/** Those that have traffic, a tag or the open deployment, in the order of their numbers. */
function relevantRevisions({ revisions, status, open }: Facts): RevisionFacts[] {
  const routed = new Set(status.traffic.map(({ revision }) => revision))
  return revisions.filter(({ uid, name }) => routed.has(name) || uid === open?.revisionUid)
}

function revisionFindings(facts: Facts, revision: RevisionFacts): ExplanationFinding[] {
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
      message: sentence(`${name} does not start: ${failure.reason}, ${plain(failure.message)}`),
    })
  const unplaced = failure?.reason === 'Unplaceable' || isStuck(facts, revision)
  if (live.length > 0 && !unplaced) return findings
  return [...findings, ...placementFindings(facts, revision, unplaced)]
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

function replicaFindings({ replicas }: Facts): ExplanationFinding[] {
  const failed = replicas
    .filter(({ state }) => state === 'failed')
    .toSorted((a, b) => (b.failedAt?.getTime() ?? 0) - (a.failedAt?.getTime() ?? 0))
  const restarting = replicas.filter(({ state, reason }) => state === 'starting' && reason !== null)
  const told = [...failed.slice(0, toldFailures), ...restarting].map((replica): ExplanationFinding => {
    const { id, node, reason, message, failedAt, state, restarts } = replica
    const what = state === 'failed' ? 'failed' : `is being started again, restart ${restarts}`
    const wait =
      state === 'failed' ? '' : ` It waits ${seconds(restartBackoffMs(restarts, 0))} at most before.`
    return {
      about: 'replica',
      severity: state === 'failed' ? 'error' : 'warning',
      message: `${sentence(`${id} ${what}: ${reason ?? 'StartFailed'}, ${plain(message ?? 'no message')}`)}${wait}`,
      replica: id,
      ...(node === '' ? {} : { node }),
      ...(failedAt === null ? {} : { at: failedAt.toISOString() }),
    }
  })
  const untold = failed.length - toldFailures
  if (untold <= 0) return told
  return [...told, { about: 'replica', severity: 'info', message: `${untold} more have failed before.` }]
}

/** Nodes of the service's pool that take nothing. */
function nodeFindings({ service, nodes }: Facts): ExplanationFinding[] {
  return nodes
    .filter(({ pool }) => pool === service.template.pool)
    .flatMap(({ name, reachability, scheduling, message, lastSeenAt }): ExplanationFinding[] => {
      const told = { about: 'node', node: name } as const
      const seen = lastSeenAt === null ? {} : { at: lastSeenAt.toISOString() }
      if (reachability === 'down')
        return [
          {
            ...told,
            severity: 'warning',
            message: sentence(`${name} is down${message === null ? '' : `: ${message}`}`),
            ...seen,
          },
        ]
      if (scheduling === 'active') return []
      return [
        { ...told, severity: 'info', message: `${name} is ${scheduling}: nothing new is placed there.` },
      ]
    })
}

/** Without the lines that a message quotes: they stand apart. */
function plain(message: string): string {
  return splitQuotedLines(message).message
}

function sentence(text: string): string {
  return /[.!?]$/.test(text) ? text : `${text}.`
}

function seconds(ms: number): string {
  return `${Math.max(1, Math.ceil(ms / 1000))} s`
}
