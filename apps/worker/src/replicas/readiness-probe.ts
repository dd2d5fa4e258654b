import type { ProbeTemplate } from '@berth/contracts'
import { request } from 'node:http'
import { setTimeout as delay } from 'node:timers/promises'
import { tryConnect } from './connect-probe.ts'

/** Where the replica's own port is reached, and which one it is inside. */
export type ProbeTarget = { address: string; hostPort: number; containerPort: number }

export type ProbeResult = { ok: true } | { ok: false; message: string }

const firstPeriodMs = 50

/**
 * Asks until the probe has succeeded `successThreshold` times in a row. Between questions it waits a little at first
 * and `periodSeconds` in the end, since a replica that starts should serve at once. With `giveUp` it ends after
 * `failureThreshold` periods, as a startup probe does. Null when the signal ended it.
 */
export async function probeUntilReady(
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
    const result = await probeOnce(probe, target)
    successes = result.ok ? successes + 1 : 0
    if (successes >= probe.successThreshold) return { ok: true }
    if (!result.ok) {
      onFailure(result.message)
      if (giveUp && performance.now() - startedAt >= patienceMs) return result
    }
    if (!(await pause(Math.min(waitMs, periodMs), signal))) return null
    waitMs *= 2
  }
  return null
}

/** One question. Never throws. */
async function probeOnce(probe: ProbeTemplate, target: ProbeTarget): Promise<ProbeResult> {
  const { check } = probe
  const timeoutMs = probe.timeoutSeconds * 1000
  if (check.port !== undefined && check.port !== target.containerPort)
    return {
      ok: false,
      message: `the probe asks port ${check.port}, only port ${target.containerPort} is published`,
    }
  if (check.kind === 'httpGet') return askHttp(check, target, timeoutMs)
  const result = await tryConnect(target.address, target.hostPort, timeoutMs)
  if (result === 'connected') return { ok: true }
  return { ok: false, message: `a connection to port ${target.containerPort} is ${result}` }
}

type HttpGet = Extract<ProbeTemplate['check'], { kind: 'httpGet' }>

/** Success is a status from 200 to 399, as Kubernetes counts it; redirects are not followed. */
async function askHttp(check: HttpGet, target: ProbeTarget, timeoutMs: number): Promise<ProbeResult> {
  return new Promise((resolve) => {
    const headers = Object.fromEntries(check.headers.map(({ name, value }) => [name, value]))
    const fail = (message: string) => resolve({ ok: false, message: `GET ${check.path}: ${message}` })
    const call = request(
      {
        host: target.address,
        port: target.hostPort,
        path: check.path,
        headers: { 'user-agent': 'berth-probe', connection: 'close', ...headers },
        agent: false,
        signal: AbortSignal.timeout(timeoutMs),
      },
      (response) => {
        const status = response.statusCode ?? 0
        response.destroy()
        if (status >= 200 && status < 400) resolve({ ok: true })
        else fail(`status ${status}`)
      },
    )
    call.on('error', (error: NodeJS.ErrnoException) =>
      fail(error.name === 'AbortError' ? `no answer in ${timeoutMs / 1000} s` : (error.code ?? 'failed')),
    )
    call.end()
  })
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
