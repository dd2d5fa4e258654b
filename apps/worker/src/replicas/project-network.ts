import { isEngineError, NameConflictError } from '@berth/engine'
import { networkLabels } from './container-names.ts'
import type { ReplicaDeps, ReplicaHost } from './replica-deps.ts'

const maxSubnets = 8

/** Docker's words for a subnet that the machine uses for something else. */
const taken = /overlap|conflicts with (existing|network)|already (in use|exists) on/i

/** Of every node and project: its network, and the removal that is under way. */
type Known = { networks: Map<string, Promise<string>>; removals: Map<string, Promise<unknown>> }

const memory = new WeakMap<ReplicaDeps, Known>()

function knownTo(deps: ReplicaDeps): Known {
  const known = memory.get(deps) ?? { networks: new Map(), removals: new Map() }
  memory.set(deps, known)
  return known
}

function keyOf(host: ReplicaHost, projectUid: string): string {
  return `${host.uid} ${projectUid}`
}

/**
 * The name of the project's bridge network on the node, made when it is not there; a subnet that the machine
 * already uses is given up for the next one. Asked for once per node and project while it works. Fails with an
 * `EngineError`.
 */
export async function ensureNetworkOf(
  deps: ReplicaDeps,
  host: ReplicaHost,
  project: { projectUid: string; project: string },
): Promise<string> {
  const { networks, removals } = knownTo(deps)
  const key = keyOf(host, project.projectUid)
  await removals.get(key)?.catch(() => {})
  const making = networks.get(key) ?? make(deps, host, project)
  networks.set(key, making)
  try {
    return await making
  } catch (error) {
    networks.delete(key)
    throw error
  }
}

/** After a container was refused because its network is gone: ask anew. */
export function forgetNetworkOf(deps: ReplicaDeps, host: ReplicaHost, projectUid: string): void {
  knownTo(deps).networks.delete(keyOf(host, projectUid))
}

/**
 * Removes the project's network from the node unless a replica or a spare needs it; whoever needs one meanwhile
 * waits and then makes it anew. Whether it was removed. Fails with an `EngineError`; garbage collection finds it then,
 * since no row names it any more.
 */
export async function removeUnusedNetworkOf(
  deps: ReplicaDeps,
  host: ReplicaHost,
  projectUid: string,
): Promise<boolean> {
  const { removals } = knownTo(deps)
  const key = keyOf(host, projectUid)
  const removing = removeUnused(deps, host, projectUid)
  removals.set(key, removing)
  try {
    return await removing
  } finally {
    removals.delete(key)
  }
}

async function removeUnused(deps: ReplicaDeps, host: ReplicaHost, projectUid: string): Promise<boolean> {
  const name = await deps.rows.forgetUnusedNetwork(host.uid, projectUid)
  if (name === null) return false
  forgetNetworkOf(deps, host, projectUid)
  await host.runtime.removeNetwork(name, deps.fence)
  return true
}

async function make(
  deps: ReplicaDeps,
  host: ReplicaHost,
  { projectUid, project }: { projectUid: string; project: string },
): Promise<string> {
  const avoid: string[] = []
  let cleared = false
  for (;;) {
    const { name, subnet } = await deps.rows.projectNetwork(host.uid, projectUid, avoid)
    const labels = networkLabels(deps.installation, project)
    try {
      await host.runtime.ensureNetwork({ name, subnet, labels }, deps.fence)
      return name
    } catch (error) {
      if (!cleared && isOtherwiseOurs(error)) {
        // Left by an earlier registration of the node. The engine refuses while something runs in it.
        await host.runtime.removeNetwork(name, deps.fence)
        cleared = true
        continue
      }
      if (!isEngineError(error) || !taken.test(error.message) || avoid.length === maxSubnets) throw error
      avoid.push(subnet)
    }
  }
}

/** The network carries our labels, and only its subnet is not the one that its row names. */
function isOtherwiseOurs(error: unknown): boolean {
  return error instanceof NameConflictError && error.differences.join() === 'subnet'
}
