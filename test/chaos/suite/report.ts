import type { RequestTarget, Target } from './fault.ts'
import type { FailedExchange } from './prober/tally.ts'
import type { FaultResult } from './suite.ts'

const columns = [
  { title: 'fault', width: 30 },
  { title: 'sent', width: 7 },
  { title: 'failed', width: 7 },
  { title: 'gap', width: 8 },
  { title: 'detect', width: 8 },
  { title: 'heal', width: 8 },
] as const

const shownFailures = 5
/** From here on the machine was too busy for the prober to keep its schedule. */
const notableLagMs = 250

/** The titles of the lines that follow. */
export function headLine(): string {
  return `${cells(columns.map(({ title }) => title))}  target`
}

/** One line per fault; below it what was missed, late or worth knowing, indented. */
export function reportFault({ name, target, tally, finding, verdict }: FaultResult): string {
  const figures = [
    name,
    String(tally.sent),
    String(tally.failed),
    `${Math.round(tally.longestGapMs)} ms`,
    seconds(finding.detectMs),
    seconds(finding.healMs),
  ]
  const mark = verdict.missed.length > 0 ? 'MISSED' : verdict.late.length > 0 ? 'late' : 'held'
  return [
    `${cells(figures)}  ${describeTarget(target)}: ${mark}`,
    ...verdict.missed.map((line) => `    missed: ${line}`),
    ...verdict.late.map((line) => `    late: ${line}`),
    ...(finding.notes ?? []).map((line) => `    ${line}`),
    ...(tally.longestLagMs > notableLagMs
      ? [`    the prober itself was up to ${Math.round(tally.longestLagMs)} ms late`]
      : []),
    ...describeFailures(tally.failures, finding.injectedAt),
  ].join('\n')
}

/** The last line, and with it the exit code: 0 when no target about requests or state was missed. */
export function summarise(results: readonly FaultResult[], seed: number): { line: string; exitCode: number } {
  const missed = results.filter(({ verdict }) => verdict.missed.length > 0).length
  const sent = results.reduce((sum, { tally }) => sum + tally.sent, 0)
  const failed = results.reduce((sum, { tally }) => sum + tally.failed, 0)
  const line = `${results.length - missed} held, ${missed} missed; ${sent} requests, ${failed} failed; seed ${seed}`
  return { line, exitCode: missed > 0 ? 1 : 0 }
}

function cells(texts: readonly string[]): string {
  return texts
    .map((text, index) =>
      index === 0 ? text.padEnd(columns[0].width) : text.padStart(columns[index]?.width ?? 0),
    )
    .join(' ')
}

function seconds(ms: number | undefined): string {
  return ms === undefined ? '-' : `${(ms / 1000).toFixed(1)} s`
}

function describeTarget({ requests, gapSeconds, detectSeconds, healSeconds, state }: Target): string {
  return [
    describeRequests(requests),
    ...(gapSeconds === undefined ? [] : [`gap ${gapSeconds} s`]),
    ...(detectSeconds === undefined ? [] : [`detect ${detectSeconds} s`]),
    ...(healSeconds === undefined ? [] : [`heal ${healSeconds} s`]),
    ...(state === undefined ? [] : [state]),
  ].join(', ')
}

function describeRequests(target: RequestTarget): string {
  switch (target.kind) {
    case 'none':
      return target.atLeast === undefined ? '0 failed' : `0 failed of at least ${target.atLeast}`
    case 'none-sent-after':
      return `0 failed that were sent ${target.ms / 1000} s later`
    case 'measured':
      return `(${target.promise})`
  }
}

/** The first few, with the time since the injection at which each was sent and failed. */
function describeFailures(failures: readonly FailedExchange[], injectedAt: number): string[] {
  const since = (at: number) => `${at < injectedAt ? '' : '+'}${((at - injectedAt) / 1000).toFixed(2)} s`
  const lines = failures
    .slice(0, shownFailures)
    .map(
      ({ kind, sentAt, failedAt, why }) =>
        `    ${kind}, sent ${since(sentAt)}, failed ${since(failedAt)}: ${why}`,
    )
  const more = failures.length - lines.length
  return more > 0 ? [...lines, `    and ${more} more`] : lines
}
