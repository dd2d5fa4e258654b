import { StoreUnavailableError } from '@berth/db'
import { isEngineError } from '@berth/engine'
import { appContainer } from './app-container.ts'
import { orAborted } from './or-aborted.ts'
import { failureOf } from './replica-failure.ts'
import type {
  Failure,
  ReplicaContainers,
  ReplicaDeps,
  ReplicaHost,
  StartableReplica,
} from './replica-deps.ts'
import { openSandbox, sandboxOf, type Sandbox } from './sandbox.ts'
import { openSpare } from './spare-sandbox.ts'
import { startApp } from './start-app.ts'
import { stopReplica } from './stop-replica.ts'
import { awaitVolumesFree, ensureVolumes, refuseLinkedMounts } from './volumes.ts'

/** The phases of a deployment that a start goes through, forward only. */
export type StartPhase = 'pulling' | 'starting' | 'probing'

/**
 * `hostPort` differs from the reserved one when a spare sandbox was taken: route what the outcome says. After
 * `failed` nothing is left on the node. `aborted` (by the signal, or since the database is away) leaves everything
 * as it is; a later call takes it up.
 */
export type StartOutcome =
  | { kind: 'ready'; hostPort: number; containers: Required<ReplicaContainers> }
  | ({ kind: 'failed' } & Failure)
  | { kind: 'aborted' }

export type StartOptions = {
  /** Each phase with a sentence for the deployment's events; progress of a pull comes as `pulling` again. */
  onPhase(phase: StartPhase, message: string): void
  /** Once the containers exist, before the app answers: for a picture that must know them early. */
  onContainers?(containers: ReplicaContainers, hostPort: number): void
  /** The app is about to start and needs its volumes for itself: whoever has them is to let go. */
  takeOver?: () => void
  /** From the app's start to its readiness. Default 240 s. */
  deadlineMs?: number
  signal?: AbortSignal
}

/**
 * Brings a replica up: image, network and sandbox side by side, the app's container made while the sandbox still
 * starts, then the app, then its probes. May be called again at any time for the same replica; an app that has
 * ended is started anew in its sandbox. Throws `LeaseLostError` only.
 */
export async function startReplica(
  deps: ReplicaDeps,
  host: ReplicaHost,
  replica: StartableReplica,
  options: StartOptions,
): Promise<StartOutcome> {
  try {
    const outcome = await bringUp(deps, host, replica, options)
    if (outcome.kind === 'failed') await clearAway(deps, host, replica)
    return outcome
  } catch (error) {
    const failure = failureOf(error)
    if (options.signal?.aborted || error instanceof StoreUnavailableError) return { kind: 'aborted' }
    await clearAway(deps, host, replica)
    return { kind: 'failed', ...failure }
  }
}

/** A spare may have died since it was made, with its engine for example: then the replica makes its own sandbox. */
async function bringUp(
  deps: ReplicaDeps,
  host: ReplicaHost,
  replica: StartableReplica,
  options: StartOptions,
): Promise<StartOutcome> {
  const isNew = replica.containers.sandbox === undefined
  try {
    return await bringUpIn(takeSandbox(deps, host, replica, isNew), deps, host, replica, options)
  } catch (error) {
    if (!isNew || !isEngineError(error, 'SandboxDead', 'NotFound')) throw error
    const spare = await deps.rows.spareOfReplica(replica.id)
    if (spare === null) throw error
    await stopReplica(deps, host, replica, { graceSeconds: 0 })
    await deps.rows.loseSpare(replica.id)
    const alone = { ...replica, hostPort: spare.hostPort }
    return await bringUpIn(takeSandbox(deps, host, alone, false), deps, host, alone, options)
  }
}

async function bringUpIn(
  sandboxing: Promise<{ sandbox: Sandbox; hostPort: number }>,
  deps: ReplicaDeps,
  host: ReplicaHost,
  replica: StartableReplica,
  options: StartOptions,
): Promise<StartOutcome> {
  // The image may fail first; the sandbox is cleared away then.
  sandboxing.catch(() => {})
  const fetching = fetchImage(deps, host, replica, options)
  // A pull goes on for others who need the image when this start is called off.
  const image = await settleBoth(orAborted(fetching, options.signal), sandboxing)
  const { sandbox, hostPort } = await sandboxing
  if (image === null || options.signal?.aborted) return { kind: 'aborted' }

  options.onPhase('starting', `starting a replica on node "${host.name}"`)
  await ensureVolumes(deps, host, replica)
  const app = await host.runtime.createApp(appContainer(deps, replica, sandbox.id, image), deps.fence)
  const containers = { sandbox: sandbox.id, app }
  options.onContainers?.(containers, hostPort)
  const recorded = record(deps, replica, containers)
  recorded.catch(() => {})
  await sandbox.started
  if (replica.volumes.length > 0) {
    await refuseLinkedMounts(host, replica.volumes, app)
    options.takeOver?.()
    await awaitVolumesFree(host, replica.volumes, app, options.signal)
  }
  if (options.signal?.aborted) return { kind: 'aborted' }
  const starting = {
    address: replica.address,
    hostPort,
    sandboxId: sandbox.id,
    appId: app,
    template: replica.template,
    environment: () => Promise.resolve(replica.env),
  }
  const start = (issued: () => void) =>
    deps.gate.run(host, 'start', () => {
      issued()
      return host.runtime.startContainer(app, deps.fence)
    })
  const ready = await startApp(host, starting, start, {
    ...options,
    onIssued: () => options.onPhase('probing', `waiting for the app to listen on port ${portOf(replica)}`),
  })
  await recorded
  return ready.kind === 'ready' ? { kind: 'ready', hostPort, containers } : ready
}

/** Without the database the start goes on: names of containers follow from ids. */
async function record(deps: ReplicaDeps, replica: StartableReplica, containers: ReplicaContainers) {
  try {
    await deps.rows.recordContainers(replica.id, containers)
  } catch (error) {
    if (!(error instanceof StoreUnavailableError)) throw error
  }
}

/** The image, after the sandbox has come to an end too if the image failed, so that both can be cleared away. */
async function settleBoth<T>(image: Promise<T>, sandboxing: Promise<unknown>): Promise<T> {
  try {
    return await image
  } catch (error) {
    await sandboxing.catch(() => {})
    throw error
  }
}

async function fetchImage(
  deps: ReplicaDeps,
  host: ReplicaHost,
  replica: StartableReplica,
  options: StartOptions,
): Promise<string> {
  const onProgress = (message: string) => options.onPhase('pulling', message)
  return deps.images.ensure(host, replica, onProgress, deps.fence)
}

/** The spare that it has, or (with `mayTake`) may have, there or being made; else a sandbox of its own. */
async function takeSandbox(
  deps: ReplicaDeps,
  host: ReplicaHost,
  replica: StartableReplica,
  mayTake: boolean,
): Promise<{ sandbox: Sandbox; hostPort: number }> {
  const port = portOf(replica)
  const key = { nodeUid: host.uid, projectUid: replica.projectUid, containerPort: port }
  const spare =
    (await deps.rows.spareOfReplica(replica.id)) ??
    (mayTake ? await deps.rows.takeSpare(key, replica.id) : null)
  if (spare !== null) {
    const wanted = { ...key, project: replica.project, address: replica.address }
    return { sandbox: await openSpare(deps, host, spare, wanted), hostPort: spare.hostPort }
  }
  const sandbox = await openSandbox(deps, host, sandboxOf(deps, replica, port), 'start')
  return { sandbox, hostPort: replica.hostPort }
}

function portOf(replica: Pick<StartableReplica, 'template'>): number {
  return replica.template.containers[0]?.ports[0]?.port ?? 0
}

/** Best effort: what stays is found by garbage collection. The row and its reason are the caller's. */
async function clearAway(deps: ReplicaDeps, host: ReplicaHost, replica: StartableReplica): Promise<void> {
  try {
    await stopReplica(deps, host, replica, { graceSeconds: 0 })
  } catch (error) {
    if (!isEngineError(error)) failureOf(error)
  }
}
