import { reservedFields } from '@berth/contracts'
import type { z } from 'zod'
import { ApiError, fieldSentence, invalidFields, type FieldError } from '../api-error.ts'
import { fieldPath } from './field-path.ts'

const maxErrors = 50

/** The parsed value, or `ApiError` invalid-field with every bad field and its path. */
export function parseBody<Schema extends z.ZodType>(schema: Schema, value: unknown): z.output<Schema> {
  const result = schema.safeParse(value)
  if (result.success) return result.data
  throw invalidFields(fieldErrors(result.error))
}

/** The same for the query string: `ApiError` invalid-query. */
export function parseQuery<Schema extends z.ZodType>(schema: Schema, value: unknown): z.output<Schema> {
  const result = schema.safeParse(value)
  if (result.success) return result.data
  const errors = fieldErrors(result.error)
  const [first] = errors
  const detail = first === undefined ? 'A query parameter is not valid.' : fieldSentence(first)
  throw new ApiError('invalid-query', detail, { errors })
}

function fieldErrors(error: z.ZodError): FieldError[] {
  return error.issues.flatMap((issue) => issueErrors(issue)).slice(0, maxErrors)
}

function issueErrors(issue: z.core.$ZodIssue): FieldError[] {
  if (issue.code === 'unrecognized_keys')
    return issue.keys.map((key) => ({ path: fieldPath([...issue.path, key]), message: unknownField(key) }))
  return [{ path: fieldPath(issue.path), message: messageOf(issue) }]
}

function unknownField(key: string): string {
  return reservedFields.has(key) ? 'is reserved for a later version' : 'is not a known field'
}

/** zod's own words, where the schema has none, made fit to follow the name of a field. */
function messageOf(issue: z.core.$ZodIssue): string {
  if (issue.message.endsWith('received undefined')) return 'is required'
  return issue.message
    .replace(/^(?:Invalid (?:input|option)|Too (?:small|big)): /, '')
    .replace(/^expected int\b/, 'expected a whole number')
    .replace(/^expected record\b/, 'expected object')
}
