import { errors } from 'undici'
import { isOwnShortage } from '../own-shortage.ts'
import type { UpstreamFailure } from '../upstream.ts'

const protocolErrors = new Set([
  'UND_ERR_HEADERS_OVERFLOW',
  'UND_ERR_RES_CONTENT_LENGTH_MISMATCH',
  'UND_ERR_INVALID_ARG',
])
/** A 100 or a 101 that nobody asked for: undici closes the connection itself and has no other name for it. */
const unaskedAnswers = new Set(['bad response', 'bad upgrade'])

/** What an error of undici says about the replica. `written`: the request was on its way already. */
export function failureKind(error: Error, written: boolean): UpstreamFailure['kind'] {
  const code = (error as NodeJS.ErrnoException).code ?? ''
  if (!written) return isOwnShortage(error) ? 'exhausted' : 'connect'
  if (error instanceof errors.HTTPParserError) return 'protocol'
  if (error instanceof errors.SocketError && unaskedAnswers.has(error.message)) return 'protocol'
  return protocolErrors.has(code) ? 'protocol' : 'died'
}
