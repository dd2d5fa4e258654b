import { problem, problemContentType, type ErrorCode } from '@berth/contracts'
import { StoreError, StoreUnavailableError, UniqueViolationError } from '@berth/db'
import { ApiError } from '../api-error.ts'

const retryAfter = { 'retry-after': '2' }
const foreignKeyViolation = '23503'

/** The one place where an error becomes a status: problem+json, never a stack. */
export function problemAnswer(error: ApiError, requestId: string): Response {
  const body = problem(error.code, error.message, requestId, error.errors)
  return new Response(JSON.stringify(body), {
    status: body.status,
    headers: { 'content-type': problemContentType, 'cache-control': 'no-store', ...error.headers },
  })
}

/** What the caller is told of an error; `internal` for those that are ours. */
export function toApiError(error: unknown): ApiError {
  if (error instanceof ApiError) return error
  if (error instanceof StoreUnavailableError)
    return refuse(
      'store-unavailable',
      'The database cannot be reached. If this was a change, read before you repeat it.',
      error,
      retryAfter,
    )
  if (error instanceof UniqueViolationError)
    return refuse('already-exists', 'Somebody took the name at the same moment.', error)
  if (error instanceof StoreError && error.code === foreignKeyViolation)
    return refuse('conflict', 'Something that this refers to was deleted at the same moment.', error)
  return refuse('internal', 'Something failed inside Berth; its log has the request id.', error)
}

function refuse(code: ErrorCode, detail: string, cause: unknown, headers = {}): ApiError {
  return new ApiError(code, detail, { cause, headers })
}
