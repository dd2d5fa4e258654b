import { type IncomingHttpHeaders, type OutgoingHttpHeaders, request } from 'node:http'

export type EdgeRequest = {
  host: string
  path?: string
  method?: string
  headers?: OutgoingHttpHeaders
  body?: string | Buffer
  /** Deadline of the whole exchange, 60 s by default. */
  timeoutMs?: number
}

export type EdgeAnswer = {
  status: number
  headers: IncomingHttpHeaders
  body: Buffer
  text(): string
  json<Body = Record<string, unknown>>(): Body
}

/**
 * One request to the edge: dials 127.0.0.1 and names the service in the Host header (`fetch` would drop it).
 * Rejects when the connection breaks, also in the middle of a body; a status is never an error.
 */
export function askEdge(port: number, asked: EdgeRequest): Promise<EdgeAnswer> {
  return new Promise((resolve, reject) => {
    const outgoing = request({
      host: '127.0.0.1',
      port,
      method: asked.method ?? 'GET',
      path: asked.path ?? '/',
      agent: false,
      headers: { host: asked.host, ...bodyHeaders(asked.body), ...asked.headers },
      signal: AbortSignal.timeout(asked.timeoutMs ?? 60_000),
    })
    outgoing.once('error', reject)
    outgoing.once('response', (incoming) => {
      const chunks: Buffer[] = []
      incoming.on('data', (chunk: Buffer) => chunks.push(chunk))
      incoming.once('error', reject)
      incoming.once('end', () => {
        const body = Buffer.concat(chunks)
        resolve({
          status: incoming.statusCode ?? 0,
          headers: incoming.headers,
          body,
          text: () => body.toString(),
          json: <Body>() => JSON.parse(body.toString()) as Body,
        })
      })
    })
    outgoing.end(asked.body)
  })
}

function bodyHeaders(body: string | Buffer | undefined): OutgoingHttpHeaders {
  return body === undefined ? {} : { 'content-length': Buffer.byteLength(body) }
}
