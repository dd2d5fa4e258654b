import type { Environment } from '@berth/contracts'
import { isEngineError } from '@berth/engine'
import { appName } from './container-names.ts'
import { failureOf } from './replica-failure.ts'
import type { Failure, PlacedReplica, ReplicaDeps, ReplicaHost } from './replica-deps.ts'
import { startApp } from './start-app.ts'

/**
 * `cold`: app or sandbox is gone from the node (somebody pruned it), so a new replica is needed; not an error.
 * Whatever is left of it is for `stopReplica`.
 */
export type WakeOutcome =
  | { kind: 'running' }
  | { kind: 'cold' }
  | ({ kind: 'failed' } & Failure)
  | { kind: 'aborted' }

export type WakeOptions = {
  /** Asked for when the app fails, never before: a wake waits for no database. */
  environment: () => Promise<Environment | null>
  deadlineMs?: number
  signal?: AbortSignal
}

/**
 * Frozen: unpause, nothing else, since the app answered before it was frozen. Parked: start the app in its sandbox
 * and wait until it answers. Running already: success. Needs neither Postgres nor Redis. Throws `LeaseLostError` only.
 */
export async function wakeReplica(
  deps: Pick<ReplicaDeps, 'fence' | 'gate' | 'installation'>,
  host: ReplicaHost,
  replica: PlacedReplica & { rung: 'frozen' | 'parked' | 'running' },
  options: WakeOptions,
): Promise<WakeOutcome> {
  try {
    if (replica.rung === 'parked') return await startParked(deps, host, replica, options)
    await host.runtime.unpause(appOf(deps, replica), deps.fence)
    return { kind: 'running' }
  } catch (error) {
    if (isEngineError(error, 'NotFound', 'SandboxDead')) return { kind: 'cold' }
    // A container that is not paused: it runs already, or it has ended.
    if (replica.rung !== 'parked' && isEngineError(error, 'Conflict', 'EngineFailure'))
      return lookAgain(deps, host, replica)
    return { kind: 'failed', ...failureOf(error) }
  }
}

async function startParked(
  deps: Pick<ReplicaDeps, 'fence' | 'gate' | 'installation'>,
  host: ReplicaHost,
  replica: PlacedReplica,
  options: WakeOptions,
): Promise<WakeOutcome> {
  const { sandbox } = replica.containers
  if (sandbox === undefined) return { kind: 'cold' }
  const app = appOf(deps, replica)
  const { address, hostPort, template } = replica
  const { environment } = options
  const starting = { address, hostPort, template, sandboxId: sandbox, appId: app, environment }
  const ready = await startApp(deps, host, 'wake', starting, options)
  return ready.kind === 'ready' ? { kind: 'running' } : ready
}

async function lookAgain(
  deps: Pick<ReplicaDeps, 'installation'>,
  host: ReplicaHost,
  replica: PlacedReplica,
): Promise<WakeOutcome> {
  try {
    const state = await host.runtime.inspect(appOf(deps, replica))
    if (state?.state === 'running') return { kind: 'running' }
    if (state?.state === 'paused')
      return { kind: 'failed', reason: 'EngineError', message: 'the app could not be unpaused' }
    return { kind: 'cold' }
  } catch (error) {
    return { kind: 'failed', ...failureOf(error) }
  }
}

function appOf(deps: Pick<ReplicaDeps, 'installation'>, replica: PlacedReplica): string {
  return replica.containers.app ?? appName(deps.installation, replica.id)
}
