import { EngineError, isEngineError } from '@berth/engine'
import { setTimeout as delay } from 'node:timers/promises'
import { appContainer } from './app-container.ts'
import { appName, heldName, pastName } from './container-names.ts'
import { orAborted } from './or-aborted.ts'
import { failureOf } from './replica-failure.ts'
import type { Failure, ReplicaDeps, ReplicaHost, StartableReplica } from './replica-deps.ts'

/**
 * held        the container of the app, whose id is `app`, runs, and the app waits
 * called off  everything is as before, and the caller may go on; `cleared` once nothing is left of the attempt
 * unable      this image or this replica cannot be held
 */
export type HoldOutcome =
  | { kind: 'held'; app: string }
  | { kind: 'called off'; cleared: Promise<void> }
  | { kind: 'unable'; message: string }
  | ({ kind: 'failed' } & Failure)

export type HoldOptions = {
  /** Somebody wants the replica. */
  signal: AbortSignal
  /** How long after its start the app may take to wait. Default 10 s. */
  withinMs?: number
}

const defaultWithinMs = 10_000
const lookEveryMs = 50

/**
 * Starts the app of a parked replica short of its first instruction. The first time that takes another container: it is
 * made beside the stopped one, which can be started until the last moment and is kept for its log afterwards, and a
 * signal ends the wait at once. After that it is the same container again and again, which is as quick as a wake, so
 * that one that comes meanwhile waits for it. Throws `LeaseLostError` only.
 */
export async function holdReplica(
  deps: ReplicaDeps,
  host: ReplicaHost,
  replica: StartableReplica,
  options: HoldOptions,
): Promise<HoldOutcome> {
  const { sandbox, app } = replica.containers
  if (sandbox === undefined || app === undefined)
    return { kind: 'unable', message: 'its containers are not known' }
  try {
    const stopped = await host.runtime.inspect(app)
    if (options.signal.aborted) return { kind: 'called off', cleared: Promise.resolve() }
    if (!stopped?.holds) return await holdAnother(deps, host, replica, sandbox, options)
    await host.runtime.setHold(app, 'waiting', deps.fence)
    await startHeld(deps, host, sandbox, app, options)
    return { kind: 'held', app }
  } catch (error) {
    return { kind: 'failed', ...failureOf(error) }
  }
}

async function holdAnother(
  deps: ReplicaDeps,
  host: ReplicaHost,
  replica: StartableReplica,
  sandbox: string,
  options: HoldOptions,
): Promise<HoldOutcome> {
  const { signal } = options
  const making = makeHeld(deps, host, replica, sandbox, options)
  try {
    const held = await orAborted(making, signal)
    if (held === null || signal.aborted) {
      const clear = () => clearAway(deps, host, replica)
      return { kind: 'called off', cleared: making.then(clear, clear) }
    }
    await changePlaces(deps, host, replica, held)
    return { kind: 'held', app: held }
  } catch (error) {
    await clearAway(deps, host, replica)
    if (isEngineError(error, 'InvalidSpec')) return { kind: 'unable', message: error.message }
    throw error
  }
}

/** Null when it was called off. */
async function makeHeld(
  deps: ReplicaDeps,
  host: ReplicaHost,
  replica: StartableReplica,
  sandbox: string,
  options: HoldOptions,
): Promise<string | null> {
  const { signal } = options
  const name = heldName(deps.installation, replica.id)
  // Of an attempt that ended with its worker.
  await host.runtime.remove(name, deps.fence)
  const image = await deps.images.ensure(host, replica, () => {}, deps.fence)
  if (signal.aborted) return null
  const spec = { ...appContainer(deps, replica, sandbox, image), name, held: true } as const
  const held = await host.runtime.createApp(spec, deps.fence)
  if (signal.aborted) return null
  await startHeld(deps, host, sandbox, held, options)
  return held
}

/** Until a release can no longer be lost. */
async function startHeld(
  deps: ReplicaDeps,
  host: ReplicaHost,
  sandbox: string,
  held: string,
  { withinMs = defaultWithinMs }: HoldOptions,
): Promise<void> {
  await deps.gate.run(host, 'start', () => host.runtime.startContainer(held, deps.fence))
  const deadline = performance.now() + withinMs
  while (!(await host.runtime.isHeld(sandbox))) {
    if (performance.now() >= deadline) {
      await host.runtime.kill(held, deps.fence)
      throw new EngineError('EngineFailure', 'the app does not wait to be released')
    }
    await delay(lookEveryMs)
  }
}

/** The name says which container is the replica's app, whatever is known of it. */
async function changePlaces(
  deps: ReplicaDeps,
  host: ReplicaHost,
  { id, containers }: StartableReplica,
  held: string,
): Promise<void> {
  const { runtime } = host
  const [app, past] = [appName(deps.installation, id), pastName(deps.installation, id)]
  const stopped = await runtime.inspect(containers.app ?? app)
  for (const name of [past, app]) {
    const found = await runtime.inspect(name)
    if (found !== null && found.id !== stopped?.id) await runtime.remove(found.id, deps.fence)
  }
  if (stopped !== null) await runtime.rename(stopped.id, past, deps.fence)
  await runtime.rename(held, app, deps.fence)
}

/** Best effort: what stays is removed by the next attempt, or with the replica. */
async function clearAway(
  deps: ReplicaDeps,
  host: ReplicaHost,
  { id }: Pick<StartableReplica, 'id'>,
): Promise<void> {
  try {
    await host.runtime.remove(heldName(deps.installation, id), deps.fence)
  } catch {
    // The engine is gone, or somebody else leads.
  }
}
