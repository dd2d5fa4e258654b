import type { NodeUid } from '@berth/contracts'
import type { Logger } from 'pino'
import { isLeaseLost } from '../replicas/index.ts'

/** Work on nodes that waits for no other node: a hung engine holds up nothing but its own. */
export type NodeLanes = {
  /** Starts `work` unless earlier work of this lane still runs on the node; the next round asks again. */
  run(node: NodeUid, work: () => Promise<void>): void
  isBusy(node: NodeUid): boolean
  /** Resolves when nothing runs on any node. */
  idle(): Promise<void>
}

/** `what` is for the log, where a node whose work fails is told of once until it succeeds. */
export function createNodeLanes(what: string, log: Logger): NodeLanes {
  const busy = new Map<NodeUid, Promise<void>>()
  const failing = new Set<NodeUid>()

  async function attempt(node: NodeUid, work: () => Promise<void>): Promise<void> {
    try {
      await work()
      failing.delete(node)
    } catch (error) {
      // Where the lease is lost the term is over, and whoever ended it has said so.
      if (!failing.has(node) && !isLeaseLost(error))
        log.warn({ err: error, nodeUid: node, what }, 'work on a node failed')
      failing.add(node)
    } finally {
      busy.delete(node)
    }
  }

  return {
    run(node, work) {
      if (!busy.has(node)) busy.set(node, attempt(node, work))
    },
    isBusy: (node) => busy.has(node),
    async idle() {
      while (busy.size > 0) await Promise.all(busy.values())
    },
  }
}
