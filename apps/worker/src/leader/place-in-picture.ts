import { placeReplica, type Placement, type PlacementNode } from '@berth/scheduler'
import type { World } from './ports.ts'
import type { NodeView, ReplicaView, RevisionView } from './world-model.ts'

const recentFailureMs = 10 * 60_000

/** Chooses a node for one more replica from the picture. `hasImage` says which nodes hold the revision's image. */
export function placeInPicture(
  world: Pick<World, 'nodes' | 'replicas'>,
  revision: RevisionView,
  hasImage: (node: string) => boolean,
  now = Date.now(),
): Placement {
  const byNode = new Map<string, ReplicaView[]>()
  for (const replica of world.replicas.values())
    byNode.set(replica.nodeUid, [...(byNode.get(replica.nodeUid) ?? []), replica])
  const nodes = [...world.nodes.values()].map((node) =>
    placementNode(node, byNode.get(node.uid) ?? [], revision, hasImage(node.uid), now),
  )
  const failedOn = new Map(
    nodes.filter(({ recentFailures }) => recentFailures > 0).map(({ id }) => [id, 'a start failed here']),
  )
  const { template, architectures } = revision
  const request = {
    revision: revision.name,
    serviceId: revision.serviceUid,
    pool: template.pool,
    nodeSelector: template.nodeSelector,
    architecture: architectures.length > 0 ? architectures : undefined,
    ...resourcesOf(revision),
  }
  const strategy = nodes.length > 0 ? strategyOf(world, template.pool) : 'spread'
  const elsewhere = placeReplica({ ...request, excludedNodes: failedOn }, nodes, { strategy })
  return elsewhere.kind === 'placed' ? elsewhere : placeReplica(request, nodes, { strategy })
}

export function resourcesOf({ template }: RevisionView): { cpuMillis: number; memoryBytes: number } {
  const sum = (key: 'cpu' | 'memory') =>
    template.containers.reduce((total, { resources }) => total + resources[key], 0)
  return { cpuMillis: sum('cpu'), memoryBytes: sum('memory') }
}

/** Whether a parked replica's memory is free on its node. */
export function fitsAgain(world: Pick<World, 'nodes' | 'replicas'>, replica: ReplicaView): boolean {
  const node = world.nodes.get(replica.nodeUid)
  if (node === undefined || node.reachability === 'down') return false
  const reserved = [...world.replicas.values()].filter(({ nodeUid }) => nodeUid === node.uid).filter(reserves)
  const used = reserved.reduce((sum, { memoryBytes }) => sum + memoryBytes, 0)
  return node.memoryBytes - node.systemReservedBytes - used >= replica.memoryBytes
}

function reserves({ state, rung }: ReplicaView): boolean {
  return state !== 'failed' && rung !== 'parked'
}

function strategyOf(world: Pick<World, 'nodes'>, pool: string): NodeView['strategy'] {
  return [...world.nodes.values()].find((node) => node.pool === pool)?.strategy ?? 'spread'
}

function placementNode(
  node: NodeView,
  here: readonly ReplicaView[],
  revision: RevisionView,
  hasImage: boolean,
  now: number,
): PlacementNode {
  const reserved = here.filter(reserves)
  const own = here.filter(({ revisionUid }) => revisionUid === revision.uid)
  return {
    id: node.uid,
    name: node.name,
    pool: node.pool,
    labels: node.labels,
    scheduling: node.scheduling,
    reachability: node.reachability,
    capacity: { cpuMillis: node.cpuMillis, memoryBytes: node.memoryBytes },
    systemReservedBytes: node.systemReservedBytes,
    reserved: {
      cpuMillis: reserved.reduce((sum, { cpuMillis }) => sum + cpuMillis, 0),
      memoryBytes: reserved.reduce((sum, { memoryBytes }) => sum + memoryBytes, 0),
    },
    architecture: node.architecture ?? undefined,
    overcommitCpu: node.overcommitCpu,
    hasImage,
    frozenReplicas: own.filter(({ state, rung }) => state === 'ready' && rung === 'frozen').length,
    replicasOfService: here.filter(
      ({ serviceUid, state }) =>
        serviceUid === revision.serviceUid && (state === 'starting' || state === 'ready'),
    ).length,
    recentFailures: own.filter(
      ({ state, createdAt }) => state === 'failed' && now - createdAt.getTime() < recentFailureMs,
    ).length,
    startsUnderWay: here.filter(({ state }) => state === 'starting').length,
  }
}
