import type { Deadline } from './deadline.ts'
import { EngineError, type EngineErrorCode, type Outcome } from './engine-error.ts'

const neverConnected = new Set([
  'ECONNREFUSED',
  'ENOENT',
  'EACCES',
  'ENOTFOUND',
  'EAI_AGAIN',
  'EHOSTUNREACH',
  'ENETUNREACH',
])
const maxMessage = 500

/** What was under way, in words for an error text: `create container "berth-…"`. */
export type Call = { what: string; mutates: boolean }

/**
 * The one place that turns a broken or late connection into an `EngineError`. A mutation whose request may have
 * gone out is `unknown`; one that never found anybody is `refused`.
 */
export function connectionFailure(call: Call, error: unknown, deadline: Deadline): EngineError {
  if (error instanceof EngineError) return error
  const outcome: Outcome = call.mutates ? 'unknown' : 'refused'
  if (deadline.reason === 'timeout')
    return new EngineError('EngineTimeout', `${call.what}: the engine did not answer in time`, { outcome })
  if (deadline.reason === 'aborted') return new EngineError('Aborted', `${call.what}: aborted`, { outcome })
  const { code, syscall, message } = error as NodeJS.ErrnoException
  if (code === 'EACCES')
    return new EngineError('EngineUnreachable', `${call.what}: no permission on the engine's socket`)
  // A certificate that is not accepted ends the connection before the request is sent.
  const untrusted = /CERT|^ERR_TLS|^UNABLE_TO/.test(code ?? '')
  const reached = !(
    untrusted ||
    syscall === 'connect' ||
    syscall === 'getaddrinfo' ||
    neverConnected.has(code ?? '')
  )
  return new EngineError('EngineUnreachable', `${call.what}: ${code ?? message}`, {
    outcome: reached ? outcome : 'refused',
  })
}

/** Turns a status of 400 and above into an `EngineError`. The engine has answered, so nothing is `unknown`. */
export function statusFailure(
  call: Call,
  status: number,
  text: string,
  secrets: readonly string[],
): EngineError {
  const message = scrub(messageOf(text), secrets).slice(0, maxMessage)
  return new EngineError(codeOf(status, message), `${call.what}: ${message || `status ${status}`}`)
}

const telling: readonly [RegExp, EngineErrorCode][] = [
  [/port is already allocated|address already in use/i, 'PortTaken'],
  [/cannot join network of a non running container|joining network .* non-?running/i, 'SandboxDead'],
  [/no space left on device/i, 'NoSpace'],
  [/no such image/i, 'ImageNotFound'],
  [/client version .* is too (old|new)/i, 'EngineTooOld'],
]

function codeOf(status: number, message: string): EngineErrorCode {
  for (const [pattern, code] of telling) if (pattern.test(message)) return code
  if (status === 404) return 'NotFound'
  if (status === 409 || status === 403) return 'Conflict'
  if (status < 500) return 'InvalidSpec'
  return 'EngineFailure'
}

function messageOf(text: string): string {
  try {
    const parsed: unknown = JSON.parse(text)
    if (typeof parsed === 'object' && parsed !== null && 'message' in parsed)
      return String(parsed.message).trim()
  } catch {
    // Some refusals are plain text.
  }
  return text.trim()
}

/**
 * The engine repeats what it was given in some refusals. `secrets` are values of variables; very short ones are left,
 * since taking every "1" out would leave nothing to read.
 */
function scrub(message: string, secrets: readonly string[]): string {
  let clean = message
  for (const secret of secrets) if (secret.length >= 4) clean = clean.replaceAll(secret, '***')
  return clean.replaceAll(/\b([A-Za-z_][A-Za-z0-9_]*)=\S+/g, '$1=***')
}
