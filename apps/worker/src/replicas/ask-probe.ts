import type { ProbeTemplate } from '@berth/contracts'
import { request } from 'node:http'
import { tryConnect } from './connect-probe.ts'

/** Where the replica's own port is reached, and which one it is inside. */
export type ProbeTarget = { address: string; hostPort: number; containerPort: number }

export type ProbeResult = { ok: true } | { ok: false; message: string }

/** One question. Never throws. */
export async function askProbe(probe: ProbeTemplate, target: ProbeTarget): Promise<ProbeResult> {
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
