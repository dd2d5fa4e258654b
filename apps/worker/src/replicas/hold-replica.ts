import { isEngineError } from '@berth/engine'
import { setTimeout as delay } from 'node:timers/promises'
import { appContainer } from './app-container.ts'
import { appName, heldName, pastName } from './container-names.ts'
import { orAborted } from './or-aborted.ts'
import { failureOf } from './replica-failure.ts'
import type { Failure, ReplicaDeps, ReplicaHost, StartableReplica } from './replica-deps.ts'

/**
 * held        a container whose app waits has taken the place of the stopped one; `app` is its id
 * called off  everything is as before, and the caller may go on; `cleared` once nothing is left of the attempt
 * unable      this image or this replica cannot be held
 */
export type HoldOutcome =
  | { kind: 'held'; app: string }
  | { kind: 'called off'; cleared: Promise<void> }
  | { kind: 'unable'; message: string }
  | ({ kind: 'failed' } & Failure)

const heldWithinMs = 10_000
const lookEveryMs = 50

/**
 * Gives a parked replica a container that has started already and whose app waits before its first instruction. It is
 * made beside the stopped one, which can be started until the last moment and is kept for its log afterwards. A signal
 * ends the wait at once, except in the few milliseconds in which the two change places. Throws `LeaseLostError` only.
 */
export async function holdReplica(
  deps: ReplicaDeps,
  host: ReplicaHost,
  replica: StartableReplica,
  signal: AbortSignal,
): Promise<HoldOutcome> {
  const making = makeHeld(deps, host, replica, signal)
  try {
    const held = await orAborted(making, signal)
    if (held === null || signal.aborted) {
      const clear = () => clearAway(deps, host, replica)
      return { kind: 'called off', cleared: making.then(clear, clear) }
    }
    await changePlaces(deps, host, replica, held)
    return { kind: 'held', app: held }
  } catch (error) {
    const failure = failureOf(error)
    await clearAway(deps, host, replica)
    if (isEngineError(error, 'InvalidSpec')) return { kind: 'unable', message: failure.message }
    return { kind: 'failed', ...failure }
  }
}

/** Null when it was called off. */
async function makeHeld(
  deps: ReplicaDeps,
  host: ReplicaHost,
  replica: StartableReplica,
  signal: AbortSignal,
): Promise<string | null> {
  const { sandbox } = replica.containers
  if (sandbox === undefined) return null
  const name = heldName(deps.installation, replica.id)
  // Of an attempt that ended with its worker.
  await host.runtime.remove(name, deps.fence)
  const image = await deps.images.ensure(host, replica, () => {}, deps.fence)
  if (signal.aborted) return null
  const spec = { ...appContainer(deps, replica, sandbox, image), name, held: true } as const
  const held = await host.runtime.createApp(spec, deps.fence)
  await deps.gate.run(host, 'start', async () => {
    if (!signal.aborted) await host.runtime.startContainer(held, deps.fence)
  })
  const deadline = performance.now() + heldWithinMs
  while (!signal.aborted && performance.now() < deadline) {
    if (await host.runtime.isHeld(sandbox)) return held
    await delay(lookEveryMs)
  }
  return null
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
