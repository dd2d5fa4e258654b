import type { NodeUid } from '@berth/contracts'
import type { ContainerRuntime, Fence } from '@berth/engine'
import type { Logger } from 'pino'
import { isLeaseLost } from '../replicas/index.ts'
import { appsFirst, removeEach } from './garbage.ts'
import type { NodeLanes } from './node-lanes.ts'

/** An engine that answers and still cannot be cleaned up for so long is left as it is. */
const patienceMs = 60_000

export type DepartingNodesOptions = {
  installation: string
  /** Nodes that were asked to go and hold no replica any more. */
  departing(): Promise<{ uid: NodeUid; name: string }[]>
  /** The engine of a node that is ready, undefined otherwise. */
  runtimeOf(node: NodeUid): ContainerRuntime | undefined
  /** Replicas and spares of other nodes: the same engine may be registered again under another name already. */
  ownersElsewhere(node: NodeUid): Promise<ReadonlySet<string>>
  forget(node: NodeUid): Promise<void>
  lanes: NodeLanes
  fence: Fence
  log: Logger
  now: () => number
}

/** Takes nodes out of the installation: what it has on their engines first, as far as those answer, then the row. */
export function createDepartingNodes(options: DepartingNodesOptions): { tick(): Promise<void> } {
  const { installation, fence, log, now } = options
  const since = new Map<NodeUid, number>()

  /** Whether nothing of the installation is left there. */
  async function cleanUp(uid: NodeUid, node: string, runtime: ContainerRuntime): Promise<boolean> {
    const containers = await runtime.list({ installation })
    const networks = await runtime.listNetworks(installation)
    const elsewhere = await options.ownersElsewhere(uid)
    const own = containers.filter(({ labels }) => !elsewhere.has(labels['berth.replica'] ?? ''))
    const isShared = own.length < containers.length
    const about = { node, log }
    const left =
      (await removeEach(appsFirst(own), 'container', ({ id }) => runtime.remove(id, fence), about)) +
      (await removeEach(
        isShared ? [] : networks,
        'network',
        ({ name }) => runtime.removeNetwork(name, fence),
        about,
      ))
    return left === 0
  }

  async function depart(uid: NodeUid, node: string): Promise<void> {
    const startedAt = since.get(uid) ?? now()
    since.set(uid, startedAt)
    const runtime = options.runtimeOf(uid)
    if (runtime !== undefined && now() - startedAt < patienceMs) {
      try {
        if (!(await cleanUp(uid, node, runtime))) return
      } catch (error) {
        if (isLeaseLost(error)) throw error
        return log.warn({ err: error, node }, 'node that leaves could not be cleaned up')
      }
    }
    await options.forget(uid)
    log.info({ node, reached: runtime !== undefined }, 'node left')
  }

  return {
    async tick() {
      const departing = await options.departing()
      for (const uid of since.keys()) if (!departing.some((node) => node.uid === uid)) since.delete(uid)
      for (const { uid, name } of departing) options.lanes.run(uid, () => depart(uid, name))
    },
  }
}
