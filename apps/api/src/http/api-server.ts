import { problemMessage, type ErrorCode } from '@berth/contracts'
import { getRequestListener, RequestError } from '@hono/node-server'
import { randomUUID } from 'node:crypto'
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import type { Socket } from 'node:net'
import type { Logger } from 'pino'
import { ApiError } from '../api-error.ts'
import { problemAnswer, toApiError } from './problem-answer.ts'

const allMethods = 'GET, HEAD, POST, PUT, PATCH, DELETE'

type Application = Parameters<typeof getRequestListener>[0]

/**
 * The server around the application; it does not listen yet. What never reaches the application, because Node's
 * parser or the step from Node's request to a Fetch request refuses it, is answered with a problem too.
 */
export function createApiServer(application: Application, log: Logger): Server {
  const listener = getRequestListener(application, {
    errorHandler: (error) => {
      const requestId = randomUUID()
      const refusal = toRefusal(error)
      if (refusal.code === 'internal') log.error({ err: error, requestId }, 'failed')
      else log.info({ requestId, code: refusal.code }, 'refused')
      return problemAnswer(refusal, requestId)
    },
  })
  /** Answers on the bare socket and closes it. */
  const refuse = (socket: Socket, code: ErrorCode, detail: string, headers = {}) => {
    const requestId = randomUUID()
    log.info({ requestId, code }, 'refused')
    socket.on('error', () => socket.destroy())
    socket.end(problemMessage(code, detail, requestId, headers), () => socket.destroy())
  }

  const server = createServer(
    // Node would refuse a request without Host by itself, with an empty answer, and an upload that takes five minutes:
    // whoever reads a body has a deadline for it.
    { requireHostHeader: false, requestTimeout: 0 },
    (request, response) => void listener(request, response),
  )
  server.on('checkExpectation', ({ socket }: IncomingMessage) =>
    refuse(socket, 'expectation-failed', 'Only 100-continue can be expected.'),
  )
  server.on('connect', (_request: IncomingMessage, socket: Socket) =>
    refuse(socket, 'method-not-allowed', 'CONNECT is not allowed.', { allow: allMethods }),
  )
  server.on('clientError', (error: NodeJS.ErrnoException, socket: Socket) => {
    if (error.code === 'ECONNRESET' || !socket.writable || hasBegunToAnswer(socket)) socket.destroy()
    else refuse(socket, ...unreadable(error))
  })
  return server
}

function toRefusal(error: unknown): ApiError {
  if (!(error instanceof RequestError)) return toApiError(error)
  return new ApiError('malformed-request', 'The request target or the Host header is malformed.', {
    cause: error,
  })
}

function unreadable(error: NodeJS.ErrnoException): [ErrorCode, string] {
  if (error.code === 'HPE_HEADER_OVERFLOW')
    return ['headers-too-large', 'The request target and header are longer than 16 KiB.']
  if (error.code === 'ERR_HTTP_REQUEST_TIMEOUT')
    return ['request-incomplete', 'The request did not arrive in time.']
  return ['malformed-request', 'The request cannot be understood.']
}

function hasBegunToAnswer(socket: Socket & { _httpMessage?: ServerResponse | null }): boolean {
  return socket._httpMessage?.headersSent === true
}
