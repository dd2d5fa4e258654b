import {
  quoteLines,
  type ContainerTemplate,
  type Environment,
  type ProbeTemplate,
  type RevisionTemplate,
} from '@berth/contracts'
import { isEngineError } from '@berth/engine'
import { setTimeout as delay } from 'node:timers/promises'
import { awaitListening, notListening } from './await-listening.ts'
import { describeEnd, lastLines } from './container-end.ts'
import { whyNotAskable, type ProbeTarget } from './ask-probe.ts'
import { probeUntilReady } from './readiness-probe.ts'
import type { Failure, ReplicaHost } from './replica-deps.ts'

const defaultStartupDeadlineMs = 240_000

export type StartingApp = {
  address: string
  hostPort: number
  sandboxId: string
  appId: string
  template: RevisionTemplate
  /** Asked for when something is to be told, to keep its values out of that; null when it cannot be known. */
  environment: () => Promise<Environment | null>
}

export type ReadyOutcome = { kind: 'ready' } | ({ kind: 'failed' } & Failure) | { kind: 'aborted' }

/**
 * Waits until a started app answers: it listens on its port, then its startup probe and its readiness probe succeed.
 * Ends early when the app ends, or has settled on another port, and fails when `started`, the call that starts it,
 * does. Never leaves anything running behind.
 */
export async function awaitReady(
  host: ReplicaHost,
  app: StartingApp,
  options: { deadlineMs?: number; signal?: AbortSignal; started?: Promise<void> } = {},
): Promise<ReadyOutcome> {
  const container = app.template.containers[0]
  const containerPort = container?.ports[0]?.port ?? 0
  const over = new AbortController()
  const deadline = AbortSignal.timeout(options.deadlineMs ?? defaultStartupDeadlineMs)
  const signal = AbortSignal.any([over.signal, deadline, ...(options.signal ? [options.signal] : [])])
  const patience = container?.startupProbe === undefined ? {} : { settledElsewhereMs: Infinity }
  const target = { ...app, containerPort, ...patience }
  let lastProbe = ''
  let listened = false

  async function answers(): Promise<ReadyOutcome | null> {
    const listening = await awaitListening(host, target, signal)
    if (listening === null) return null
    if (listening !== 'listening') return withLog({ kind: 'failed', ...listening })
    listened = true
    const problem = await cannotAsk(host, container, target)
    if (problem !== null) return { kind: 'failed', reason: 'ProbeFailed', message: problem }
    for (const [probe, giveUp] of probesOf(container?.startupProbe, container?.readinessProbe)) {
      const result = await probeUntilReady(host, probe, target, {
        giveUp,
        signal,
        onFailure: (message) => (lastProbe = message),
      })
      if (result === null) return null
      if (!result.ok) return withLog({ kind: 'failed', reason: 'ProbeFailed', message: result.message })
    }
    return { kind: 'ready' }
  }

  async function withLog(failed: Extract<ReadyOutcome, { kind: 'failed' }>): Promise<ReadyOutcome> {
    const lines = await lastLines(host.runtime, app.appId, app.environment)
    return { ...failed, message: quoteLines(failed.message, lines, "the app's") }
  }

  try {
    const ended = Promise.resolve(options.started).then(() => watchForEnd(host, app, signal))
    const first = await Promise.race([answers(), ended])
    if (first !== null) return first
    if (!deadline.aborted || options.signal?.aborted) return { kind: 'aborted' }
    if (listened) return await withLog({ kind: 'failed', reason: 'ProbeFailed', message: lastProbe })
    const listeners = await host.runtime.readListeners(app.sandboxId).catch(() => [])
    return await withLog({ kind: 'failed', ...notListening(containerPort, listeners) })
  } finally {
    over.abort()
  }
}

/** Why one of its probes will never be answered on this node; null when all can be asked. */
async function cannotAsk(
  host: ReplicaHost,
  container: ContainerTemplate | undefined,
  target: ProbeTarget,
): Promise<string | null> {
  for (const probe of [container?.startupProbe, container?.readinessProbe, container?.livenessProbe]) {
    const problem = probe === undefined ? null : await whyNotAskable(host, probe, target)
    if (problem !== null) return problem
  }
  return null
}

/** Each with whether it gives up by itself: a readiness probe waits for as long as the deadline lets it. */
function probesOf(startup?: ProbeTemplate, readiness?: ProbeTemplate): [ProbeTemplate, boolean][] {
  return [
    ...(startup === undefined ? [] : ([[startup, true]] as [ProbeTemplate, boolean][])),
    ...(readiness === undefined ? [] : ([[readiness, false]] as [ProbeTemplate, boolean][])),
  ]
}

const firstLookMs = 100
const maxLookMs = 500

/** Resolves when the app's container has ended, with the reason; null when the signal ended the wait. */
async function watchForEnd(
  host: ReplicaHost,
  app: StartingApp,
  signal: AbortSignal,
): Promise<ReadyOutcome | null> {
  let waitMs = firstLookMs
  while (!signal.aborted) {
    await delay(waitMs, undefined, { signal }).catch(() => {})
    if (signal.aborted) return null
    waitMs = Math.min(waitMs * 1.2, maxLookMs)
    const state = await host.runtime.inspect(app.appId).catch((error: unknown) => {
      if (isEngineError(error)) return undefined
      throw error
    })
    if (state === undefined || state?.state === 'running' || state?.state === 'paused') continue
    if (state === null)
      return { kind: 'failed', reason: 'StartFailed', message: 'the container was removed while it started' }
    const lines = await lastLines(host.runtime, app.appId, app.environment)
    const memory = app.template.containers[0]?.resources.memory ?? 0
    return { kind: 'failed', ...describeEnd(state, memory, lines) }
  }
  return null
}
