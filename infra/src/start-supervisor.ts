import { spawn } from 'node:child_process'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { Failure } from './failure.ts'
import { identify, isAlive, type ProcessIdentity } from './machine/process-identity.ts'
import type { RunFolder } from './run-folder.ts'
import { environmentOf, type Settings } from './settings.ts'
import { readStatus } from './supervisor/control-client.ts'
import { lastLogLines, withLogDescriptor } from './supervisor/log-file.ts'
import type { SupervisorStatus } from './supervisor/supervisor.ts'

const readyTimeoutMs = 180_000

/** Starts the supervisor as a process of its own, which outlives this command. */
export function startSupervisor(settings: Settings, logs: string): ProcessIdentity {
  const node = join(settings.project, 'node_modules/.bin/node')
  const main = join(settings.project, 'infra/src/supervisor/main.ts')
  const child = withLogDescriptor(join(logs, 'supervisor.log'), (log) =>
    spawn(node, [main], {
      detached: true,
      stdio: ['ignore', log, log],
      cwd: settings.project,
      env: environmentOf(settings),
    }),
  )
  child.unref()
  const identity = child.pid === undefined ? undefined : identify(child.pid)
  if (identity === undefined) throw new Failure('The supervisor could not be started.')
  return identity
}

/** Resolves when everything is ready, also what is being started again just now; a Failure quotes what stands in the way. */
export async function waitUntilReady(
  run: RunFolder,
  logs: string,
  options: { supervisor?: ProcessIdentity; signal?: AbortSignal | undefined } = {},
): Promise<SupervisorStatus> {
  const { supervisor, signal } = options
  const deadline = performance.now() + readyTimeoutMs
  for (;;) {
    signal?.throwIfAborted()
    const status = await readStatus(run.supervisorSocket).catch(() => undefined)
    if (status?.phase === 'ready' && status.processes.every(({ state }) => state === 'ready')) return status
    const gone = supervisor !== undefined && !isAlive(supervisor)
    if (status?.phase === 'failed' || gone || performance.now() > deadline)
      throw new Failure(await explain(status, logs))
    await delay(50)
  }
}

/** One sentence, and the end of the log of whoever is to blame; what failed before any process needs no log. */
async function explain(status: SupervisorStatus | undefined, logs: string): Promise<string> {
  const stuck = status?.processes.find(({ state }) => state !== 'ready')
  const name = status?.blamed ?? stuck?.name ?? 'supervisor'
  const problem = status?.problem ?? stuck?.lastProblem ?? `the ${name} did not start`
  const sentence = `Berth could not start: ${problem.replace(/\.$/, '')}.`
  if (status?.phase === 'failed' && status.blamed === null) return sentence
  const log = join(logs, `${name}.log`)
  const lines = (await lastLogLines(log, 8)).map((line) => `  ${line.slice(0, 300)}`)
  return `${sentence} The end of ${log}:\n${lines.join('\n')}`
}
