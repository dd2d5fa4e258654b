import type { NodeUid } from '@berth/contracts'
import type { Engines } from './engines.ts'
import type { ReplicaWatch } from './replica-watch.ts'

/** Follows the events of engines, one stream per node. */
export type EventFollowers = {
  /** No effect while the node is followed, or has no engine. */
  follow(node: NodeUid): void
  leave(node: NodeUid): void
  /** Leaves the nodes that are gone. */
  keep(isKnown: (node: NodeUid) => boolean): void
}

/** Everything ends with the signal. */
export function createEventFollowers(
  watch: Pick<ReplicaWatch, 'follow'>,
  engines: Pick<Engines, 'runtime'>,
  signal: AbortSignal,
): EventFollowers {
  const followed = new Map<NodeUid, AbortController>()

  function leave(node: NodeUid): void {
    followed.get(node)?.abort()
    followed.delete(node)
  }

  return {
    follow(node) {
      const runtime = engines.runtime(node)
      if (runtime === undefined || followed.has(node)) return
      const over = new AbortController()
      followed.set(node, over)
      void watch.follow(node, runtime, AbortSignal.any([over.signal, signal]))
    },
    leave,
    keep(isKnown) {
      for (const node of followed.keys()) if (!isKnown(node)) leave(node)
    },
  }
}
