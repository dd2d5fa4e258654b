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

export type WakeableReplica = PlacedReplica & { rung: 'frozen' | 'parked' | 'running'; held?: boolean }

/**
 * Frozen: unpause, nothing else, since the app answered before it was frozen. Parked: let the app begin that is `held`,
 * or start it in its sandbox, and wait until it answers. Running already: success. Needs neither Postgres nor Redis.
 * Throws `LeaseLostError` only.
 */
export async function wakeReplica(
  deps: Pick<ReplicaDeps, 'fence' | 'gate' | 'installation'>,
  host: ReplicaHost,
  replica: WakeableReplica,
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
  replica: WakeableReplica,
  options: WakeOptions,
): Promise<WakeOutcome> {
  const { sandbox } = replica.containers
  if (sandbox === undefined) return { kind: 'cold' }
  const app = appOf(deps, replica)
  const { address, hostPort, template } = replica
  const { environment } = options
  const starting = { address, hostPort, template, sandboxId: sandbox, appId: app, environment }
  const begin = replica.held === true ? release : startStopped
  const ready = await startApp(host, starting, (issued) => begin(deps, host, app, issued), options)
  return ready.kind === 'ready' ? { kind: 'running' } : ready
}

async function release(
  deps: Pick<ReplicaDeps, 'fence' | 'gate'>,
  host: ReplicaHost,
  app: string,
  issued: () => void,
): Promise<void> {
  issued()
  try {
    await host.runtime.release(app, deps.fence)
  } catch (error) {
    if (!isEngineError(error, 'Conflict')) throw error
    // It has ended while it was held.
    await startStopped(deps, host, app, issued)
  }
}

/** Whatever has become of it: one that runs after all may still be held. */
async function startStopped(
  deps: Pick<ReplicaDeps, 'fence' | 'gate'>,
  host: ReplicaHost,
  app: string,
  issued: () => void,
): Promise<void> {
  const { runtime } = host
  const state = await runtime.inspect(app)
  if (state?.state === 'running') return await runtime.release(app, deps.fence)
  if (state?.holds) await runtime.setHold(app, 'passing', deps.fence)
  await deps.gate.run(host, 'wake', () => {
    issued()
    return runtime.startContainer(app, deps.fence)
  })
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
