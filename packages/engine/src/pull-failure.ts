import { EngineError, type EngineErrorCode } from './engine-error.ts'

/*
 * Docker tells why a pull failed in prose only, and with status 500 for most. The words are those of Docker 20.10 to
 * 28, of the CNCF registry and of Docker Hub.
 */

const causes: readonly [RegExp, EngineErrorCode][] = [
  [/no space left on device/i, 'NoSpace'],
  [
    /no matching manifest|does not match the specified platform|no match for platform/i,
    'ArchitectureMismatch',
  ],
  [
    /pull access denied|unauthorized|authentication required|no basic auth|denied:|incorrect username/i,
    'RegistryAuthRequired',
  ],
  [
    /manifest unknown|manifest for .* not found|name unknown|name_unknown|repository .* not found|not found: /i,
    'ImageNotFound',
  ],
  [
    /verification failed|digest mismatch|unexpected commit digest|unexpected EOF|invalid checksum|gzip|unsupported (manifest )?media ?type/i,
    'ImageCorrupt',
  ],
  [
    /connection refused|no such host|i\/o timeout|timeout|handshake|EOF$|no route to host|network is unreachable|x509|connection reset|server gave HTTP response|too ?many ?requests|service unavailable|50[0-4]/i,
    'RegistryUnreachable',
  ],
]

/** What an `error` of a pull means. `status` is that of the answer, where the whole call failed. */
export function pullFailure(image: string, text: string, status = 0): EngineError {
  const message = `pull ${image}: ${text.slice(0, 400)}`
  for (const [pattern, code] of causes) if (pattern.test(text)) return new EngineError(code, message)
  return new EngineError(status === 404 ? 'ImageNotFound' : 'PullFailed', message)
}
