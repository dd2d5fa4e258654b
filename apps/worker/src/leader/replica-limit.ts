import type { ReplicaId } from '@berth/contracts'
import { surgeScale } from '@berth/scheduler'
import type { ReplicaView, ServiceView } from './world-model.ts'
import type { Picture } from './world.ts'

type Seen = Pick<Picture, 'nodes' | 'replicasOfService' | 'deploying'>

/**
 * How many starting, running and frozen replicas a service may have: `maxScale`, more of them while a deployment is
 * under way, and while replicas of nodes that are drained are replaced.
 */
export function replicaLimit(picture: Seen, service: ServiceView): number {
  const most = picture.deploying(service.uid) ? surgeScale(service.maxScale) : service.maxScale
  return most + takingOver(picture, service)
}

/** The same for the rows, where those of lost nodes still count: what replaces them is not more than there may be. */
export function rowLimit(picture: Seen, service: ServiceView): number {
  const lost = picture
    .replicasOfService(service.uid)
    .filter((replica) => replica.state === 'ready' && replica.rung !== 'parked')
    .filter((replica) => !isReachable(picture, replica))
  return replicaLimit(picture, service) + lost.length
}

/** Pairs of a replica on a node that is drained and the one that is to take its place: they count as one. */
export function takingOver(picture: Seen, service: ServiceView): number {
  const present = picture
    .replicasOfService(service.uid)
    .filter(({ state, rung }) => (state === 'starting' || state === 'ready') && rung !== 'parked')
  const ready = new Set<ReplicaId | null>(
    present.filter(({ state }) => state === 'ready').map(({ id }) => id),
  )
  return present.filter(({ replaces }) => ready.has(replaces)).length
}

export function isReachable(picture: Pick<Picture, 'nodes'>, { nodeUid }: ReplicaView): boolean {
  return picture.nodes.get(nodeUid)?.reachability === 'ready'
}
