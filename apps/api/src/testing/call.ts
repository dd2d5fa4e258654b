import { request, type IncomingHttpHeaders, type OutgoingHttpHeaders } from 'node:http'

export type Called = {
  status: number
  headers: IncomingHttpHeaders
  text: string
  /** The body as JSON; throws when it is not. */
  json: <T = Record<string, unknown>>() => T
}

export type CallOptions = {
  token?: string
  headers?: OutgoingHttpHeaders
  /** Sent as JSON unless it is text or bytes. */
  body?: unknown
}

/** One request on a connection of its own, as any client would send it. */
export function callHttp(
  port: number,
  method: string,
  path: string,
  { token, headers = {}, body }: CallOptions = {},
): Promise<Called> {
  const payload =
    body === undefined || typeof body === 'string' || Buffer.isBuffer(body) ? body : JSON.stringify(body)
  return new Promise((resolve, reject) => {
    const outgoing = request({
      host: '127.0.0.1',
      port,
      method,
      path,
      agent: false,
      headers: {
        ...(token === undefined ? {} : { authorization: `Bearer ${token}` }),
        ...(payload === undefined
          ? {}
          : { 'content-type': 'application/json', 'content-length': Buffer.byteLength(payload) }),
        ...headers,
      },
    })
    outgoing.on('error', reject)
    outgoing.once('response', (response) => {
      const chunks: Buffer[] = []
      response.on('data', (chunk: Buffer) => chunks.push(chunk))
      response.once('error', reject)
      response.once('end', () => {
        const text = Buffer.concat(chunks).toString()
        const status = response.statusCode ?? 0
        resolve({ status, headers: response.headers, text, json: <T>() => JSON.parse(text) as T })
      })
    })
    outgoing.end(payload)
  })
}
