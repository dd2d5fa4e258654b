import { isFieldValue, isToken } from '../../field-syntax.ts'
import type { UpstreamRequest } from '../upstream.ts'

const target = /^[\x21-\x7e\x80-\xff]+$/

/** The head of a request, flat. Throws when a part of it would be read as something else by the replica. */
export function requestFields({ method, path, headers }: UpstreamRequest): string[] {
  if (!isToken(method) || !target.test(path)) throw new Error('the request line is malformed')
  let authority = ''
  const fields: string[] = []
  for (let i = 0; i + 1 < headers.length; i += 2) {
    const name = (headers[i] ?? '').toLowerCase()
    const value = headers[i + 1] ?? ''
    if (!isToken(name) || !isFieldValue(value)) throw new Error('a header is malformed')
    if (name === 'host') authority = value
    else fields.push(name, value)
  }
  return [':method', method, ':scheme', 'http', ':authority', authority, ':path', path, ...fields]
}

/** Without what is no header; `raw` is flat, as it came. */
export function plainFields(raw: readonly string[]): string[] {
  const fields: string[] = []
  for (let i = 0; i + 1 < raw.length; i += 2)
    if (!raw[i]?.startsWith(':')) fields.push(raw[i] ?? '', raw[i + 1] ?? '')
  return fields
}

export function byteLength(fields: readonly string[]): number {
  let bytes = 0
  for (const part of fields) bytes += part.length
  return bytes
}
