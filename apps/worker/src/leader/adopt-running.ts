import type { NodeUid } from '@berth/contracts'
import type { NodeView } from './world-model.ts'
import type { Picture } from './world.ts'

/** Until then no router is served: a node that hangs must not hold up a take-over. */
const defaultLookMs = 2_000

/**
 * A new leader looks at every node before it routes anything. What runs by its rows is routed unless its engine says
 * otherwise: nothing goes that was not seen to be gone. Resolves after `lookMs` at the latest; a node that answers
 * later is corrected then.
 */
export async function adoptRunning(options: {
  picture: Pick<Picture, 'nodes' | 'replicas' | 'updateReplica'>
  /** Corrects the picture of a node; false when it did not answer. Never rejects. */
  look: (node: NodeView) => Promise<boolean>
  lookMs?: number
}): Promise<void> {
  const { picture, look, lookMs = defaultLookMs } = options
  const ready = [...picture.nodes.values()].filter(({ reachability }) => reachability === 'ready')
  const listed = new Set<NodeUid>()
  const looking = ready.map(async (node) => {
    if (await look(node)) listed.add(node.uid)
  })
  let timer: NodeJS.Timeout | undefined
  const late = new Promise<void>((resolve) => {
    timer = setTimeout(resolve, lookMs)
  })
  await Promise.race([Promise.all(looking), late])
  clearTimeout(timer)
  const silent = new Set(ready.map(({ uid }) => uid).filter((uid) => !listed.has(uid)))
  for (const { id, state, rung, nodeUid, serving } of picture.replicas.values())
    if (state === 'ready' && rung === 'running' && !serving && silent.has(nodeUid))
      picture.updateReplica(id, { serving: true })
}
