import { once } from 'node:events'
import {
  connect,
  type ClientHttp2Session,
  type ClientHttp2Stream,
  type ClientSessionOptions,
  type IncomingHttpHeaders,
  type OutgoingHttpHeaders,
  type SecureClientSessionOptions,
} from 'node:http2'

/** A client of HTTP/2; without TLS by prior knowledge. `close` breaks off what is under way. */
export async function openSession(
  url: string,
  options: ClientSessionOptions | SecureClientSessionOptions = {},
): Promise<ClientHttp2Session> {
  // In MB: what waits to be sent counts.
  const session = connect(url, { maxSessionMemory: 1000, ...options })
  session.on('error', () => undefined)
  await once(session, 'connect')
  return session
}

export type Http2Answer = {
  status: number
  headers: IncomingHttpHeaders
  trailers: IncomingHttpHeaders
  /** Status of each 1xx. */
  informational: number[]
  body: string
}

export function request(session: ClientHttp2Session, headers: OutgoingHttpHeaders = {}): ClientHttp2Stream {
  const stream = session.request(
    { ':authority': 'hello.localhost', ...headers },
    { endStream: headers[':method'] === undefined },
  )
  return stream
}

/** Rejects when the stream breaks off. */
export function answerOf(stream: ClientHttp2Stream): Promise<Http2Answer> {
  return new Promise((resolve, reject) => {
    const answer: Http2Answer = { status: 0, headers: {}, trailers: {}, informational: [], body: '' }
    stream.on('headers', (headers: IncomingHttpHeaders & { ':status'?: number }) =>
      answer.informational.push(headers[':status'] ?? 0),
    )
    stream.on('response', (headers) => {
      answer.status = headers[':status'] ?? 0
      answer.headers = headers
    })
    stream.on('trailers', (headers: IncomingHttpHeaders) => {
      answer.trailers = headers
    })
    stream.setEncoding('utf8')
    stream.on('data', (text: string) => {
      answer.body += text
    })
    stream.on('error', reject)
    stream.on('end', () => resolve(answer))
    stream.on('close', () => reject(new Error(`closed with ${stream.rstCode}`)))
  })
}

/** One request and its answer. */
export function askHttp2(
  session: ClientHttp2Session,
  headers: OutgoingHttpHeaders = {},
  body?: string | Buffer,
): Promise<Http2Answer> {
  const stream = request(session, body === undefined ? headers : { ':method': 'POST', ...headers })
  const answer = answerOf(stream)
  stream.end(body)
  return answer
}
