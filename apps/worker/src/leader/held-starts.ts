import type { NodeUid, ReplicaId } from '@berth/contracts'
import type { Keeper } from './replica-keeper.ts'
import type { NodeLanes } from './node-lanes.ts'
import type { NodeView, ReplicaView } from './world-model.ts'
import type { Picture } from './world.ts'

/** Twice of what a held app was measured to cost its node, for its container's shim for the most part. */
const heldBytes = 6 * 1024 ** 2
/** A parked replica reserves nothing, so all that are held together may take no more of a node's memory than this. */
const heldShare = 0.05
const retryMs = 60_000

export type HeldStartsOptions = {
  picture: Pick<Picture, 'nodes' | 'replicas'>
  keeper: Pick<Keeper, 'hold' | 'busyWith'>
  /** Whether something is started or woken on the node, which goes first. */
  isStarting(node: NodeUid): boolean
  lanes: NodeLanes
  /** Milliseconds of a monotonic clock. */
  now: () => number
}

/** Sees to it that the apps of parked replicas wait to be let go, one after the other on each node. */
export function createHeldStarts(options: HeldStartsOptions): { tick(): void } {
  const { picture, keeper, lanes, now } = options
  const notBefore = new Map<ReplicaId, number>()

  async function hold({ id }: ReplicaView): Promise<void> {
    notBefore.set(id, now() + retryMs)
    const outcome = await keeper.hold(id)
    if (outcome.kind === 'unable') notBefore.set(id, Infinity)
    if (outcome.kind === 'held' || outcome.kind === 'called off') notBefore.delete(id)
    // Until then nothing else is made ready on the node.
    if (outcome.kind === 'called off') await outcome.cleared
  }

  function next(parked: readonly ReplicaView[]): ReplicaView | undefined {
    return parked.find(
      ({ id, held }) => !held && !keeper.busyWith(id) && now() >= (notBefore.get(id) ?? -Infinity),
    )
  }

  return {
    tick() {
      for (const id of notBefore.keys()) if (!picture.replicas.has(id)) notBefore.delete(id)
      const parked = [...picture.replicas.values()].filter(
        ({ state, rung }) => state === 'ready' && rung === 'parked',
      )
      for (const [uid, here] of Map.groupBy(parked, ({ nodeUid }) => nodeUid)) {
        const node = picture.nodes.get(uid)
        if (node?.reachability !== 'ready' || options.isStarting(uid)) continue
        const wanted = next(here)
        if (wanted === undefined || here.filter(({ held }) => held).length >= mostHeld(node)) continue
        lanes.run(uid, () => hold(wanted))
      }
    },
  }
}

/** How many apps may be held on a node: 34 on one of 4 GiB. */
export function mostHeld({ memoryBytes }: Pick<NodeView, 'memoryBytes'>): number {
  return Math.floor((memoryBytes * heldShare) / heldBytes)
}
