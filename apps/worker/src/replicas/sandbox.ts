import { EngineError, isEngineError, type Labels } from '@berth/engine'
import { containerLabels, sandboxName } from './container-names.ts'
import { ensureNetworkOf, forgetNetworkOf } from './project-network.ts'
import type { ReplicaDeps, ReplicaHost, StartableReplica } from './replica-deps.ts'
import type { StartPriority } from './start-gate.ts'

/** A sandbox exists as soon as `id` resolves, and may be joined by an app once `started` has. */
export type Sandbox = { id: string; started: Promise<void> }

export type WantedSandbox = {
  /** Id of the replica or spare that it is for. */
  owner: string
  projectUid: string
  project: string
  address: string
  hostPort: number
  containerPort: number
  labels: Labels
}

/**
 * Makes and starts a sandbox, or takes up the one that is there. A sandbox is never restarted: one that has ended
 * fails `started` with `SandboxDead`.
 */
export async function openSandbox(
  deps: ReplicaDeps,
  host: ReplicaHost,
  wanted: WantedSandbox,
  priority: StartPriority,
): Promise<Sandbox> {
  try {
    const id = await createIn(deps, host, wanted)
    const started = startUnlessDead(deps, host, id, priority)
    // Whoever needs it awaits it; until then nobody else reports its failure.
    started.catch((error: unknown) => noteMissingNetwork(deps, host, wanted.projectUid, error))
    return { id, started }
  } catch (error) {
    noteMissingNetwork(deps, host, wanted.projectUid, error)
    throw error
  }
}

async function createIn(deps: ReplicaDeps, host: ReplicaHost, wanted: WantedSandbox): Promise<string> {
  const network = await ensureNetworkOf(deps, host, wanted)
  const spec = {
    name: sandboxName(deps.installation, wanted.owner),
    network,
    hostAddress: wanted.address,
    hostPort: wanted.hostPort,
    containerPort: wanted.containerPort,
    image: host.sandboxImage,
    labels: wanted.labels,
  }
  try {
    return await host.runtime.createSandbox(spec, deps.fence)
  } catch (error) {
    if (!isEngineError(error, 'ImageNotFound')) throw error
  }
  // Pruned while nothing ran from it. It is ours, so no revision is at fault when the node does not keep it.
  await host.restoreSandboxImage(deps.fence)
  try {
    return await host.runtime.createSandbox(spec, deps.fence)
  } catch (error) {
    if (!isEngineError(error, 'ImageNotFound')) throw error
    throw new EngineError('EngineFailure', `the node does not keep the image "${spec.image}"`)
  }
}

async function startUnlessDead(
  deps: ReplicaDeps,
  host: ReplicaHost,
  id: string,
  priority: StartPriority,
): Promise<void> {
  const state = await host.runtime.inspect(id)
  if (state === null) throw new EngineError('SandboxDead', 'the sandbox is gone')
  if (state.state === 'running') return
  if (state.state !== 'created')
    throw new EngineError('SandboxDead', `the sandbox has ended (it is ${state.state})`)
  await deps.gate.run(host, priority, () => host.runtime.startContainer(id, deps.fence))
}

/** The sandbox that a replica without a spare makes for itself. */
export function sandboxOf(deps: ReplicaDeps, replica: StartableReplica, port: number): WantedSandbox {
  return {
    owner: replica.id,
    projectUid: replica.projectUid,
    project: replica.project,
    address: replica.address,
    hostPort: replica.hostPort,
    containerPort: port,
    labels: containerLabels({
      installation: deps.installation,
      role: 'sandbox',
      project: replica.project,
      service: replica.service,
      revision: replica.revision,
      replica: replica.id,
    }),
  }
}

/** A network that was removed behind our back is made anew by the next start. */
function noteMissingNetwork(deps: ReplicaDeps, host: ReplicaHost, projectUid: string, error: unknown): void {
  if (isEngineError(error) && /network .*not found/i.test(error.message))
    forgetNetworkOf(deps, host, projectUid)
}
