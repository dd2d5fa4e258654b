import { quoteLines, redact, type Environment } from '@berth/contracts'
import type { ContainerRuntime, ContainerState } from '@berth/engine'
import { constants } from 'node:os'
import type { Failure } from './replica-deps.ts'

const logLines = 20
const maxMessageChars = 4_000
/** What a shell and tini answer for a program that is no signal's victim but never ran either. */
const namedCodes: Readonly<Record<number, string>> = { 126: 'not executable', 127: 'command not found' }
/** Whoever died of a signal has this added to its number. */
const signalOffset = 128

/** Why an app's container is no longer running. `lines` are the last of its log. */
export function describeEnd(
  state: Pick<ContainerState, 'exitCode' | 'oomKilled' | 'error'>,
  memoryBytes: number,
  lines: readonly string[],
): Failure {
  const limit = `${Math.round(memoryBytes / 1024 ** 2)}Mi`
  const failure: Failure = state.oomKilled
    ? { reason: 'OutOfMemory', message: `the app used more memory than its limit of ${limit}` }
    : { reason: 'AppCrashed', message: `the app ended with ${nameExitCode(state.exitCode)}` }
  return { ...failure, message: quoteLines(failure.message, lines).slice(0, maxMessageChars) }
}

/** With the signal that it stands for: 137 is "exit code 137 (SIGKILL)". */
function nameExitCode(code: number): string {
  const signal = Object.entries(constants.signals).find(([, number]) => number === code - signalOffset)
  const name = signal?.[0] ?? namedCodes[code]
  return name === undefined ? `exit code ${code}` : `exit code ${code} (${name})`
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
