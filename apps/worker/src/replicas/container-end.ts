import type { Environment } from '@berth/contracts'
import type { ContainerRuntime, ContainerState } from '@berth/engine'
import type { Failure } from './replica-deps.ts'

const logLines = 20
const maxMessageChars = 4_000
/** Shorter values occur in ordinary text by chance, and give little away. */
const minSecretChars = 4
/** From here on a value is replaced also within a longer word. */
const minLongSecretChars = 8

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

/**
 * The last lines that the container printed, with the values of its variables replaced. None when they cannot be read,
 * or the variables are not known.
 */
export async function lastLines(
  runtime: ContainerRuntime,
  containerId: string,
  environment: () => Promise<Environment | null>,
): Promise<string[]> {
  const lines: string[] = []
  const env = await environment()
  if (env === null) return lines
  try {
    for await (const { line } of runtime.logs(containerId, { tail: logLines })) lines.push(redact(line, env))
  } catch {
    // A log that cannot be read must not hide why the app ended.
  }
  return lines.slice(-logLines)
}

/**
 * An app may print its environment; what is shown of it must not. A value of several lines is looked for line by line,
 * since lines are what is shown. One of 4 to 7 characters is replaced where it stands as a word: the price is that a
 * harmless `true` or `info` reads `***` too. What the app prints in another form (encoded, cut) is not found.
 */
export function redact(line: string, env: Environment): string {
  return Object.values(env)
    .flatMap((value) => value.split(/\r?\n/))
    .map((value) => value.trim())
    .filter((value) => value.length >= minSecretChars)
    .toSorted((one, other) => other.length - one.length)
    .reduce((text, value) => hide(text, value), line)
}

function hide(text: string, value: string): string {
  if (value.length >= minLongSecretChars) return text.replaceAll(value, '***')
  const word = new RegExp(`(?<![\\p{L}\\p{N}_])${RegExp.escape(value)}(?![\\p{L}\\p{N}_])`, 'gu')
  return text.replace(word, '***')
}
