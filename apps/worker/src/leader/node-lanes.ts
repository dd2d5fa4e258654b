import type { NodeUid } from '@berth/contracts'
import type { Logger } from 'pino'
import { isLeaseLost } from '../replicas/index.ts'

/** Work on nodes that waits for no other node: a hung engine holds up nothing but its own. */
export type NodeLanes = {
  /** Starts `work` unless earlier work of this lane still runs on the node; the next round asks again. */
  run(node: NodeUid, work: () => Promise<void>): void
  /** Resolves when nothing runs on any node. */
  idle(): Promise<void>
}

/** `what` is for the log, where what fails is told. */
export function createNodeLanes(what: string, log: Logger): NodeLanes {
  const busy = new Map<NodeUid, Promise<void>>()

  async function attempt(node: NodeUid, work: () => Promise<void>): Promise<void> {
    try {
      await work()
    } catch (error) {
      // The term is over, and whoever ended it has said so.
      if (!isLeaseLost(error)) log.warn({ err: error, node, what }, 'work on a node failed')
    } finally {
      busy.delete(node)
    }
  }

  return {
    run(node, work) {
      if (!busy.has(node)) busy.set(node, attempt(node, work))
    },
    async idle() {
      while (busy.size > 0) await Promise.all(busy.values())
    },
  }
}
