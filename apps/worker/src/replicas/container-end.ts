import type { Environment } from '@berth/contracts'
import type { ContainerRuntime, ContainerState } from '@berth/engine'
import type { Failure } from './replica-deps.ts'

const logLines = 20
const maxMessageChars = 4_000
/** Shorter values occur in ordinary text by chance. */
const minSecretChars = 8

/** Why an app's container is no longer running. `lines` are the last of its log. */
export function describeEnd(
  state: Pick<ContainerState, 'exitCode' | 'oomKilled' | 'error'>,
  memoryBytes: number,
  lines: readonly string[],
): Failure {
  const tail = lines.length === 0 ? '' : `; its last lines were:\n${lines.join('\n')}`
  const limit = `${Math.round(memoryBytes / 1024 ** 2)}Mi`
  const failure: Failure = state.oomKilled
    ? { reason: 'OutOfMemory', message: `the app used more memory than its limit of ${limit}${tail}` }
    : { reason: 'AppCrashed', message: `the app ended with exit code ${state.exitCode}${tail}` }
  return { ...failure, message: failure.message.slice(0, maxMessageChars) }
}

/** The last lines that the container printed; none when they cannot be read. Values of `env` are replaced. */
export async function lastLines(
  runtime: ContainerRuntime,
  containerId: string,
  env: Environment,
): Promise<string[]> {
  const lines: string[] = []
  try {
    for await (const { line } of runtime.logs(containerId, { tail: logLines })) lines.push(redact(line, env))
  } catch {
    // A log that cannot be read must not hide why the app ended.
  }
  return lines.slice(-logLines)
}

/** An app may print its environment; what is shown to users must not. */
export function redact(line: string, env: Environment): string {
  const values = Object.values(env).filter((value) => value.length >= minSecretChars)
  return values
    .toSorted((one, other) => other.length - one.length)
    .reduce((text, value) => text.replaceAll(value, '***'), line)
}
