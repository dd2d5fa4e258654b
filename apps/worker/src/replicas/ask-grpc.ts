import { connect, constants, type IncomingHttpHeaders } from 'node:http2'
import type { ProbeResult } from './ask-probe.ts'
import { decodeHealthResponse, encodeHealthRequest } from './grpc-health.ts'

/** An answer is seven bytes long. */
const maxAnswerBytes = 1024

/**
 * grpc.health.v1.Health/Check over HTTP/2 without TLS, as Kubernetes asks it. Success is SERVING and nothing else. Never
 * rejects.
 */
export async function askGrpc(
  service: string,
  at: { address: string; port: number },
  timeoutMs: number,
): Promise<ProbeResult> {
  const what = `gRPC health check${service === '' ? '' : ` of "${service}"`}`
  return new Promise((resolve) => {
    const session = connect(`http://${at.address.includes(':') ? `[${at.address}]` : at.address}:${at.port}`)
    const timer = setTimeout(() => fail(`no answer in ${timeoutMs / 1000} s`), timeoutMs)
    function end(result: ProbeResult): void {
      clearTimeout(timer)
      session.destroy()
      resolve(result)
    }
    function fail(message: string): void {
      end({ ok: false, message: `${what}: ${message}` })
    }
    const call = session.request({
      [constants.HTTP2_HEADER_METHOD]: 'POST',
      [constants.HTTP2_HEADER_PATH]: '/grpc.health.v1.Health/Check',
      'content-type': 'application/grpc',
      te: 'trailers',
      'user-agent': 'berth-probe',
    })
    const chunks: Buffer[] = []
    let size = 0
    let head: IncomingHttpHeaders = {}
    let trailers: IncomingHttpHeaders = {}
    session.on('error', (error) => fail(codeOf(error)))
    call.on('error', (error) => fail(codeOf(error)))
    call.on('response', (headers) => (head = headers))
    call.on('trailers', (headers) => (trailers = headers))
    call.on('data', (chunk: Buffer) => {
      chunks.push(chunk)
      size += chunk.length
      if (size > maxAnswerBytes) fail('too long an answer')
    })
    call.on('close', () => {
      const problem = problemOf({ ...head, ...trailers }, Buffer.concat(chunks))
      if (problem === null) end({ ok: true })
      else fail(problem)
    })
    call.end(encodeHealthRequest(service))
  })
}

/** A call that ends with its connection tells of that one. */
function codeOf(error: NodeJS.ErrnoException): string {
  return error.cause instanceof Error ? codeOf(error.cause) : (error.code ?? 'failed')
}

/** Null when it serves. Whoever has nothing to say puts the status of the call into the head, else it is behind the body. */
function problemOf(headers: IncomingHttpHeaders, body: Buffer): string | null {
  const { ':status': status, 'grpc-status': code } = headers
  if (status !== undefined && Number(status) !== 200) return `status ${String(status)}`
  if (code === undefined) return 'no answer that is gRPC'
  if (code !== '0') return code === '12' ? 'the app has no health service' : `grpc-status ${String(code)}`
  const serving = decodeHealthResponse(body)
  return serving === 'SERVING' ? null : (serving ?? 'an answer that is no HealthCheckResponse')
}
