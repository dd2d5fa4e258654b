import type { NodeUid, ProjectUid } from '@berth/contracts'
import type { Logger } from 'pino'
import { isLeaseLost, removeUnusedNetworkOf, type ReplicaDeps, type ReplicaHost } from '../replicas/index.ts'
import type { NodeLanes } from './node-lanes.ts'

/**
 * Starts to remove the networks of projects that have nothing on a node any more, on each node by itself; those of
 * nodes that do not answer wait.
 */
export async function collectUnusedNetworks(options: {
  deps: ReplicaDeps
  unused(): Promise<{ nodeUid: NodeUid; projectUid: ProjectUid }[]>
  hostOf(node: NodeUid): ReplicaHost | null
  lanes: NodeLanes
  log: Logger
}): Promise<void> {
  const { deps, log } = options

  async function collect(host: ReplicaHost, projectUid: ProjectUid): Promise<void> {
    try {
      if (await removeUnusedNetworkOf(deps, host, projectUid))
        log.info({ node: host.name, project: projectUid }, 'unused network removed')
    } catch (error) {
      if (isLeaseLost(error)) throw error
      log.warn({ err: error, node: host.name, project: projectUid }, 'unused network could not be removed')
    }
  }

  for (const [node, unused] of Map.groupBy(await options.unused(), ({ nodeUid }) => nodeUid)) {
    const host = options.hostOf(node)
    if (host === null) continue
    options.lanes.run(node, async () => {
      for (const { projectUid } of unused) await collect(host, projectUid)
    })
  }
}
