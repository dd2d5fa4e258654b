import { ApiError } from '../api-error.ts'
import { parseStrictJson } from './strict-json.ts'

const maxBodyBytes = 1024 * 1024
const bodyWithinMs = 30_000

const jsonTypes = new Set(['application/json', 'application/merge-patch+json'])
const utf8 = /^charset="?utf-?8"?$/

/**
 * Reads a JSON body of at most 1 MiB; undefined when there is none. Throws `ApiError` body-too-large (the
 * connection is closed, since the rest stays unread), request-incomplete after `withinMs` (30 s), unsupported-media-type or
 * malformed-json.
 */
export async function readJsonBody(request: Request, withinMs = bodyWithinMs): Promise<unknown> {
  const bytes = await readBytes(request, withinMs)
  if (bytes.length === 0) return undefined
  requireJson(request.headers)
  return parseStrictJson(decodeUtf8(bytes))
}

function requireJson(headers: Headers): void {
  const [type = '', ...parameters] = words(headers.get('content-type'), ';')
  const charset = parameters.find((parameter) => parameter.startsWith('charset='))
  if (!jsonTypes.has(type) || (charset !== undefined && !utf8.test(charset)))
    throw new ApiError('unsupported-media-type', 'Send the body as Content-Type: application/json, in UTF-8.')
  if (words(headers.get('content-encoding'), ',').some((coding) => coding !== 'identity'))
    throw new ApiError('unsupported-media-type', 'Send the body without Content-Encoding.')
}

function words(header: string | null, separator: string): string[] {
  return header === null
    ? []
    : header
        .toLowerCase()
        .split(separator)
        .map((word) => word.trim())
}

async function readBytes(request: Request, withinMs: number): Promise<Buffer> {
  if (Number(request.headers.get('content-length') ?? 0) > maxBodyBytes) throw tooLarge()
  if (request.body === null) return Buffer.alloc(0)
  const chunks: Uint8Array[] = []
  let length = 0
  for await (const chunk of whole(request.body, withinMs)) {
    length += chunk.byteLength
    if (length > maxBodyBytes) throw tooLarge()
    chunks.push(chunk)
  }
  return Buffer.concat(chunks)
}

async function* whole(body: ReadableStream<Uint8Array>, withinMs: number): AsyncGenerator<Uint8Array> {
  const reader = body.getReader()
  let late = false
  const timer = setTimeout(() => {
    late = true
    reader.cancel().catch(() => {})
  }, withinMs)
  try {
    for (let next = await reader.read(); !next.done; next = await reader.read()) yield next.value
  } catch (error) {
    throw new ApiError('malformed-request', 'The body broke off.', { cause: error })
  } finally {
    clearTimeout(timer)
    // Nobody reads the rest of one that is too long.
    reader.cancel().catch(() => {})
  }
  if (late)
    throw new ApiError('request-incomplete', `The body did not arrive within ${withinMs / 1000} s.`, {
      headers: { connection: 'close' },
    })
}

function decodeUtf8(bytes: Buffer): string {
  try {
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes)
  } catch {
    throw new ApiError('malformed-json', 'The body is not valid UTF-8.')
  }
}

function tooLarge(): ApiError {
  return new ApiError('body-too-large', `The body may have at most ${maxBodyBytes} bytes.`, {
    headers: { connection: 'close' },
  })
}
