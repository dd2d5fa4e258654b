import { isEngineError } from '@berth/engine'
import { networkLabels } from './container-names.ts'
import type { ReplicaDeps, ReplicaHost } from './replica-deps.ts'

const maxSubnets = 8

/** Docker's words for a subnet that the machine uses for something else. */
const taken = /overlap|conflicts with (existing|network)|already (in use|exists) on/i

const known = new WeakMap<ReplicaDeps, Map<string, Promise<string>>>()

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
  const cache = known.get(deps) ?? new Map<string, Promise<string>>()
  known.set(deps, cache)
  const key = `${host.uid} ${project.projectUid}`
  const making = cache.get(key) ?? make(deps, host, project)
  cache.set(key, making)
  try {
    return await making
  } catch (error) {
    cache.delete(key)
    throw error
  }
}

/** After a container was refused because its network is gone, or the network was collected: ask anew. */
export function forgetNetworkOf(deps: ReplicaDeps, host: ReplicaHost, projectUid: string): void {
  known.get(deps)?.delete(`${host.uid} ${projectUid}`)
}

async function make(
  deps: ReplicaDeps,
  host: ReplicaHost,
  { projectUid, project }: { projectUid: string; project: string },
): Promise<string> {
  const avoid: string[] = []
  for (;;) {
    const { name, subnet } = await deps.rows.projectNetwork(host.uid, projectUid, avoid)
    const labels = networkLabels(deps.installation, project)
    try {
      await host.runtime.ensureNetwork({ name, subnet, labels }, deps.fence)
      return name
    } catch (error) {
      if (!isEngineError(error) || !taken.test(error.message) || avoid.length === maxSubnets) throw error
      avoid.push(subnet)
    }
  }
}
