import type { NodeUid } from '@berth/contracts'
import { boundTo } from '@berth/db'
import { placeReplica, type Placement, type PlacementNode, type Resources } from '@berth/scheduler'
import type { World } from './ports.ts'
import type { NodeView, ReplicaView, RevisionView } from './world-model.ts'

const recentFailureMs = 10 * 60_000

export type PlacementFacts = {
  /** Which nodes hold the revision's image. */
  hasImage: (node: string) => boolean
  /** Whether a replica holds memory and cores on its node. */
  reserves: (replica: ReplicaView) => boolean
  now?: number
}

/** Chooses a node for one more replica from the picture. */
export function placeInPicture(
  world: Pick<World, 'nodes' | 'replicas' | 'services'>,
  revision: RevisionView,
  facts: PlacementFacts,
): Placement {
  const nodes = placementNodes(world, revision, facts)
  const elsewhere = place(world, revision, nodes, failedOn(nodes))
  return elsewhere.kind === 'placed' ? elsewhere : place(world, revision, nodes)
}

/** Whether another node than `except`, and none that the revision has failed on lately, has place for a replica. */
export function fitsElsewhere(
  world: Pick<World, 'nodes' | 'replicas' | 'services'>,
  revision: RevisionView,
  facts: PlacementFacts,
  except: NodeUid,
): boolean {
  const nodes = placementNodes(world, revision, facts)
  const excluded = failedOn(nodes).set(except, 'it ended here again and again')
  return place(world, revision, nodes, excluded).kind === 'placed'
}

function failedOn(nodes: readonly PlacementNode[]): Map<string, string> {
  const failed = nodes.filter(({ recentFailures }) => recentFailures > 0)
  return new Map(failed.map(({ id }) => [id, 'it failed here lately']))
}

function place(
  world: Pick<World, 'nodes' | 'services'>,
  revision: RevisionView,
  nodes: readonly PlacementNode[],
  excludedNodes: ReadonlyMap<string, string> = new Map(),
): Placement {
  const { template, architectures } = revision
  const { volumes = [] } = world.services.get(revision.serviceUid) ?? {}
  const request = {
    revision: revision.name,
    serviceId: revision.serviceUid,
    pool: template.pool,
    nodeSelector: template.nodeSelector,
    architecture: architectures.length > 0 ? architectures : undefined,
    boundTo: boundTo(template, volumes, (uid) => world.nodes.get(uid)?.name),
    ...resourcesOf(revision),
  }
  const strategy = nodes.length > 0 ? strategyOf(world, template.pool) : 'spread'
  return placeReplica({ ...request, excludedNodes }, nodes, { strategy })
}

function placementNodes(
  world: Pick<World, 'nodes' | 'replicas'>,
  revision: RevisionView,
  facts: PlacementFacts,
): PlacementNode[] {
  const byNode = Map.groupBy(world.replicas.values(), ({ nodeUid }) => nodeUid)
  return [...world.nodes.values()].map((node) =>
    placementNode(node, byNode.get(node.uid) ?? [], revision, facts),
  )
}

export function resourcesOf({ template }: RevisionView): Resources {
  const sum = (key: 'cpu' | 'memory') =>
    template.containers.reduce((total, { resources }) => total + resources[key], 0)
  return { cpuMillis: sum('cpu'), memoryBytes: sum('memory') }
}

/** Those of `parked`, in their order, for which there is place on their nodes again, for all of them together. */
export function fittingAgain(
  world: Pick<World, 'nodes' | 'replicas'>,
  parked: readonly ReplicaView[],
  reserves: (replica: ReplicaView) => boolean,
): ReplicaView[] {
  if (parked.length === 0) return []
  const free = new Map<string, Resources>()
  for (const node of world.nodes.values())
    if (node.reachability === 'ready')
      free.set(node.uid, {
        memoryBytes: node.memoryBytes - node.systemReservedBytes,
        cpuMillis: Math.floor(node.cpuMillis * node.overcommitCpu),
      })
  const take = (replica: ReplicaView) => {
    const left = free.get(replica.nodeUid)
    if (left === undefined) return
    left.memoryBytes -= replica.memoryBytes
    left.cpuMillis -= replica.cpuMillis
  }
  for (const replica of world.replicas.values()) if (reserves(replica)) take(replica)
  return parked.filter((replica) => {
    const left = free.get(replica.nodeUid)
    const fits =
      left !== undefined && left.memoryBytes >= replica.memoryBytes && left.cpuMillis >= replica.cpuMillis
    if (fits) take(replica)
    return fits
  })
}

function strategyOf(world: Pick<World, 'nodes'>, pool: string): NodeView['strategy'] {
  return [...world.nodes.values()].find((node) => node.pool === pool)?.strategy ?? 'spread'
}

function placementNode(
  node: NodeView,
  here: readonly ReplicaView[],
  revision: RevisionView,
  { hasImage, reserves, now = Date.now() }: PlacementFacts,
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
    diskFreeRatio: node.diskFreeRatio,
    hasImage: hasImage(node.uid),
    frozenReplicas: own.filter(({ state, rung }) => state === 'ready' && rung === 'frozen').length,
    replicasOfService: here.filter(
      ({ serviceUid, state }) =>
        serviceUid === revision.serviceUid && (state === 'starting' || state === 'ready'),
    ).length,
    recentFailures: own.filter(
      ({ failedAt }) => failedAt !== null && now - failedAt.getTime() < recentFailureMs,
    ).length,
    startsUnderWay: here.filter(({ state }) => state === 'starting').length,
  }
}
