import type { NodeUid, ProjectUid } from '@berth/contracts'
import type { Logger } from 'pino'
import { isLeaseLost, removeUnusedNetworkOf, type ReplicaDeps, type ReplicaHost } from '../replicas/index.ts'

/** Removes the networks of projects that have nothing on a node any more; those of nodes that do not answer wait. */
export async function collectUnusedNetworks(options: {
  deps: ReplicaDeps
  unused(): Promise<{ nodeUid: NodeUid; projectUid: ProjectUid }[]>
  hostOf(node: NodeUid): ReplicaHost | null
  log: Logger
}): Promise<void> {
  const { deps, log } = options
  for (const { nodeUid, projectUid } of await options.unused()) {
    const host = options.hostOf(nodeUid)
    if (host === null) continue
    try {
      if (await removeUnusedNetworkOf(deps, host, projectUid))
        log.info({ node: host.name, project: projectUid }, 'unused network removed')
    } catch (error) {
      if (isLeaseLost(error)) throw error
      log.warn({ err: error, node: host.name, project: projectUid }, 'unused network could not be removed')
    }
  }
}
