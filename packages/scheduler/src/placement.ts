import { placementFilters } from './filter.ts'
import type { PlacementNode, PlacementRequest } from './node.ts'
import { scoreNode, type NodeScore, type PlacementStrategy } from './score.ts'

export type PlacementPolicy = { strategy: PlacementStrategy }

/** `message` is whole and fit for the user: "2 nodes: memory 512Mi asked, 300Mi free". */
export type Refusal = { filter: string; nodes: number; message: string }

export type Placed = { kind: 'placed'; nodeId: string; /** Best first. */ scores: NodeScore[] }
export type Unplaceable = { kind: 'unplaceable'; refusals: Refusal[]; /** One line. */ summary: string }
export type Placement = Placed | Unplaceable

/**
 * Chooses the node for one replica. The answer depends on the nodes and not on their order: equal scores go
 * to the smaller name.
 */
export function placeReplica(
  request: PlacementRequest,
  nodes: readonly PlacementNode[],
  policy: PlacementPolicy,
): Placement {
  const { feasible, refusals } = runFilters(request, nodes)
  const ranked = feasible
    .map((node) => ({ node, score: scoreNode(node, request, policy.strategy) }))
    .sort((a, b) => b.score.total - a.score.total || compareNames(a.node, b.node))
  const best = ranked[0]
  if (best === undefined) return { kind: 'unplaceable', refusals, summary: summarise(refusals, nodes.length) }
  return { kind: 'placed', nodeId: best.node.id, scores: ranked.map(({ score }) => score) }
}

/**
 * Chooses nodes for `count` replicas of one revision; each reserves its share before the next is placed.
 * Always `count` answers: what is placed first, then what is not.
 */
export function placeReplicas(
  request: PlacementRequest,
  count: number,
  nodes: readonly PlacementNode[],
  policy: PlacementPolicy,
): Placement[] {
  const placements: Placement[] = []
  let left = nodes
  while (placements.length < count) {
    const placement = placeReplica(request, left, policy)
    placements.push(placement)
    if (placement.kind === 'placed')
      left = left.map((node) => (node.id === placement.nodeId ? reserve(node, request) : node))
  }
  return placements
}

/** Why each node refuses the replica, in its own numbers; a node that would take it is left out. */
export function refusalsByNode(
  request: PlacementRequest,
  nodes: readonly PlacementNode[],
): { node: PlacementNode; filter: string; message: string }[] {
  return nodes.flatMap((node) => {
    const filter = placementFilters.find((each) => !each.check(node, request))
    return filter === undefined
      ? []
      : [{ node, filter: filter.name, message: filter.explain([node], request) }]
  })
}

function reserve(node: PlacementNode, request: PlacementRequest): PlacementNode {
  return {
    ...node,
    reserved: {
      memoryBytes: node.reserved.memoryBytes + request.memoryBytes,
      cpuMillis: node.reserved.cpuMillis + request.cpuMillis,
    },
    replicasOfService: node.replicasOfService + 1,
    startsUnderWay: node.startsUnderWay + 1,
  }
}

function runFilters(
  request: PlacementRequest,
  nodes: readonly PlacementNode[],
): { feasible: readonly PlacementNode[]; refusals: Refusal[] } {
  const refusals: Refusal[] = []
  let feasible = nodes
  for (const filter of placementFilters) {
    const refused = feasible.filter((node) => !filter.check(node, request))
    if (refused.length === 0) continue
    feasible = feasible.filter((node) => !refused.includes(node))
    const count = refused.length === 1 ? '1 node' : `${refused.length} nodes`
    refusals.push({
      filter: filter.name,
      nodes: refused.length,
      message: `${count}: ${filter.explain(refused, request)}`,
    })
  }
  return { feasible, refusals }
}

function summarise(refusals: readonly Refusal[], nodes: number): string {
  if (nodes === 0) return 'no node is registered'
  return `none of ${nodes} ${nodes === 1 ? 'node' : 'nodes'} fits: ${refusals.map(({ message }) => message).join('; ')}`
}

function compareNames(a: PlacementNode, b: PlacementNode): number {
  if (a.name !== b.name) return a.name < b.name ? -1 : 1
  return a.id < b.id ? -1 : 1
}
