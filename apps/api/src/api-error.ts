import type { ErrorCode } from '@berth/contracts'

export type FieldError = { path: string; message: string }

/** What an operation refuses; the edge turns it into problem+json. `detail` is one sentence and never secret. */
export class ApiError extends Error {
  readonly code: ErrorCode
  readonly errors: FieldError[] | undefined
  readonly headers: Readonly<Record<string, string>>

  constructor(
    code: ErrorCode,
    detail: string,
    options: { errors?: FieldError[]; headers?: Record<string, string>; cause?: unknown } = {},
  ) {
    super(detail, options.cause === undefined ? undefined : { cause: options.cause })
    this.name = 'ApiError'
    this.code = code
    this.errors = options.errors
    this.headers = options.headers ?? {}
  }
}

/** 422 for one field. */
export function invalidField(path: string, message: string): ApiError {
  return invalidFields([{ path, message }])
}

/** 422; the detail repeats the first field in words. */
export function invalidFields(errors: FieldError[]): ApiError {
  const [first] = errors
  const more = errors.length > 1 ? ` (and ${errors.length - 1} more)` : ''
  const detail = first === undefined ? 'A field is not valid.' : `${fieldSentence(first)}${more}`
  return new ApiError('invalid-field', detail, { errors })
}

export function fieldSentence({ path, message }: FieldError): string {
  return path === '' ? `The body ${message}.` : `${path}: ${message}.`
}

export function notFound(what: string, name: string): ApiError {
  return new ApiError('not-found', `There is no ${what} "${name}".`)
}
