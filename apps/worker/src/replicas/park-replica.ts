import { isEngineError } from '@berth/engine'
import { setTimeout as delay } from 'node:timers/promises'
import { appName } from './container-names.ts'
import type { StepDownOutcome } from './freeze-replica.ts'
import { failureOf } from './replica-failure.ts'
import type { PlacedReplica, ReplicaDeps, ReplicaHost } from './replica-deps.ts'
import { stopGraceSeconds } from './stop-replica.ts'

/** What an app may still take to end by itself once somebody waits for it to start again. */
const hurriedGraceMs = 1_000

export type ParkOptions = { /** A request waits for the replica. */ hurried?: AbortSignal }

/**
 * Stops the app (SIGTERM, after the grace SIGKILL) and keeps its container and sandbox; a frozen one is thawed first
 * by the engine. The caller has withdrawn it from the routes, acknowledged. Throws `LeaseLostError` only.
 */
export async function parkReplica(
  deps: Pick<ReplicaDeps, 'fence' | 'installation'>,
  host: ReplicaHost,
  replica: Pick<PlacedReplica, 'id' | 'containers'>,
  options: ParkOptions = {},
): Promise<StepDownOutcome> {
  const app = replica.containers.app ?? appName(deps.installation, replica.id)
  const ended = new AbortController()
  try {
    const stopping = host.runtime.stop(app, stopGraceSeconds, deps.fence)
    if (options.hurried)
      void killSoonAfter(options.hurried, ended.signal, () => host.runtime.kill(app, deps.fence))
    await stopping
    return (await host.runtime.inspect(app)) === null ? { kind: 'gone' } : { kind: 'done' }
  } catch (error) {
    if (isEngineError(error, 'NotFound')) return { kind: 'gone' }
    return { kind: 'failed', ...failureOf(error) }
  } finally {
    ended.abort()
  }
}

/** It is withdrawn and empty, so nothing that was asked of it is lost. Without the kill the grace runs out. */
async function killSoonAfter(
  hurried: AbortSignal,
  ended: AbortSignal,
  kill: () => Promise<void>,
): Promise<void> {
  await whenAborted(AbortSignal.any([hurried, ended]))
  try {
    await delay(hurriedGraceMs, undefined, { signal: ended })
    await kill()
  } catch {
    // The app has ended, or the engine refuses: the stop that is under way tells.
  }
}

function whenAborted(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    signal.addEventListener('abort', () => resolve(), { once: true })
    if (signal.aborted) resolve()
  })
}
