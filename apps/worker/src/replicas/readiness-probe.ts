import type { ProbeTemplate } from '@berth/contracts'
import { setTimeout as delay } from 'node:timers/promises'
import { askProbe, type ProbeResult, type ProbeTarget } from './ask-probe.ts'
import type { ReplicaHost } from './replica-deps.ts'

const firstPeriodMs = 50

/**
 * Asks until the probe has succeeded `successThreshold` times in a row. Between questions it waits a little at first
 * and `periodSeconds` in the end, since a replica that starts should serve at once. With `giveUp` it ends after
 * `failureThreshold` periods, as a startup probe does. Null when the signal ended it.
 */
export async function probeUntilReady(
  host: ReplicaHost,
  probe: ProbeTemplate,
  target: ProbeTarget,
  options: { giveUp: boolean; signal: AbortSignal; onFailure: (message: string) => void },
): Promise<ProbeResult | null> {
  const { signal, giveUp, onFailure } = options
  const periodMs = probe.periodSeconds * 1000
  const startedAt = performance.now()
  const patienceMs = (probe.initialDelaySeconds + probe.periodSeconds * probe.failureThreshold) * 1000
  if (!(await pause(probe.initialDelaySeconds * 1000, signal))) return null
  let waitMs = firstPeriodMs
  let successes = 0
  while (!signal.aborted) {
    const result = await askProbe(host, probe, target)
    successes = result?.ok ? successes + 1 : 0
    if (successes >= probe.successThreshold) return { ok: true }
    if (result?.ok === false) {
      onFailure(result.message)
      if (giveUp && performance.now() - startedAt >= patienceMs) return result
    }
    if (!(await pause(Math.min(waitMs, periodMs), signal))) return null
    waitMs *= 2
  }
  return null
}

/** False when the signal ended the wait. */
async function pause(ms: number, signal: AbortSignal): Promise<boolean> {
  try {
    await delay(ms, undefined, { signal })
    return true
  } catch {
    return false
  }
}
