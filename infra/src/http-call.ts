import { type IncomingHttpHeaders, type OutgoingHttpHeaders, request } from 'node:http'

export type HttpCall = {
  /** Either a unix socket or a TCP port on loopback. */
  target: { socketPath: string } | { host?: string; port: number }
  method?: string
  path: string
  headers?: OutgoingHttpHeaders
  body?: string | Buffer
  /** Deadline of the whole exchange, 10 s by default. */
  timeoutMs?: number
}

export type HttpAnswer = { status: number; headers: IncomingHttpHeaders; body: string }

/**
 * One HTTP exchange with a body that fits in memory. `fetch` would not do: it cannot dial a unix socket and
 * drops the Host header. Rejects on connection errors and after the deadline, never because of a status.
 */
export function callHttp(call: HttpCall): Promise<HttpAnswer> {
  return new Promise((resolve, reject) => {
    const address = 'socketPath' in call.target ? call.target : { host: '127.0.0.1', ...call.target }
    const outgoing = request({
      ...address,
      method: call.method ?? 'GET',
      path: call.path,
      agent: false,
      headers: {
        ...(call.body === undefined ? {} : { 'content-length': Buffer.byteLength(call.body) }),
        ...call.headers,
      },
      signal: AbortSignal.timeout(call.timeoutMs ?? 10_000),
    })
    outgoing.once('error', reject)
    outgoing.once('response', (incoming) => {
      const chunks: Buffer[] = []
      incoming.on('data', (chunk: Buffer) => chunks.push(chunk))
      incoming.once('error', reject)
      incoming.once('end', () => {
        const body = Buffer.concat(chunks).toString()
        resolve({ status: incoming.statusCode ?? 0, headers: incoming.headers, body })
      })
    })
    outgoing.end(call.body)
  })
}
