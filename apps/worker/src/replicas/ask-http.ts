import type { ProbeTemplate } from '@berth/contracts'
import { request } from 'node:http'
import type { ProbeResult } from './ask-probe.ts'

type HttpGet = Extract<ProbeTemplate['check'], { kind: 'httpGet' }>

/** Success is a status from 200 to 399, as Kubernetes counts it; redirects are not followed. Never rejects. */
export async function askHttp(
  check: HttpGet,
  at: { address: string; port: number },
  timeoutMs: number,
): Promise<ProbeResult> {
  return new Promise((resolve) => {
    const headers = Object.fromEntries(check.headers.map(({ name, value }) => [name, value]))
    const fail = (message: string) => resolve({ ok: false, message: `GET ${check.path}: ${message}` })
    const call = request(
      {
        host: at.address,
        port: at.port,
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
