import type { ExplanationFinding, ExplanationView } from '@berth/contracts'
import type { Condition, desired } from '@berth/db'
import { deploymentFindings } from './deployment-findings.ts'
import { eventFindings } from './event-findings.ts'
import { nextCommands, type CommandPlace } from './next-commands.ts'
import { nodeFindings } from './node-findings.ts'
import { replicaFindings } from './replica-findings.ts'
import { revisionFindings } from './revision-findings.ts'
import { plain, sentence } from './sentences.ts'

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

/** Puts what is known into sentences: first the service, then what it is made of, from the cause to its effect. */
export function explain(input: ExplanationInput): ExplanationView {
  const { facts, condition, lines } = input
  const findings = [
    conditionFinding(condition),
    ...deploymentFindings(facts),
    ...revisionFindings(facts),
    ...replicaFindings(facts),
    ...eventFindings(facts),
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
  const opening = {
    True: `${name} is ready`,
    False: `${name} is not ready (${reason})`,
    Unknown: `Whether ${name} is ready is not known yet`,
  }[status]
  const whole = `${opening}: ${sentence(plain(message))}`
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
