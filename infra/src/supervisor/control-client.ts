import { codeOf, Failure } from '../failure.ts'
import { callHttp } from '../http-call.ts'
import type { SupervisorStatus } from './supervisor.ts'

/** What the supervisor says, or undefined when none runs. */
export async function readStatus(socketPath: string): Promise<SupervisorStatus | undefined> {
  try {
    const { body } = await callHttp({ target: { socketPath }, path: '/status', timeoutMs: 5000 })
    return JSON.parse(body) as SupervisorStatus
  } catch (error) {
    if (codeOf(error) === 'ENOENT' || codeOf(error) === 'ECONNREFUSED') return undefined
    throw error
  }
}

/** Replaces one process; a Failure tells why that did not work. Waits up to two minutes. */
export function askRestart(socketPath: string, name: string): Promise<void> {
  return askProcess(socketPath, 'restart', name)
}

/** Does something to one process and waits until it is done; `pause` keeps it stopped until `resume`. */
export async function askProcess(
  socketPath: string,
  verb: 'restart' | 'pause' | 'resume',
  name: string,
): Promise<void> {
  const path = `/${verb}/${encodeURIComponent(name)}`
  const answer = await callHttp({ target: { socketPath }, method: 'POST', path, timeoutMs: 120_000 }).catch(
    (error: unknown) => {
      if (codeOf(error) === 'ENOENT' || codeOf(error) === 'ECONNREFUSED')
        throw new Failure('Berth is not running; start it with ./berth up.', { cause: error })
      throw error
    },
  )
  if (answer.status !== 200)
    throw new Failure((JSON.parse(answer.body) as { problem?: string }).problem ?? answer.body)
}

/** Asks the supervisor to stop everything; it ends when that is done. */
export async function askDown(socketPath: string): Promise<void> {
  await callHttp({ target: { socketPath }, method: 'POST', path: '/down', timeoutMs: 5000 })
}
