import { placementFilters } from './filter.ts'
import { freeCpuMillis, freeMemoryBytes, type PlacementNode, type PlacementRequest } from './node.ts'
import { placeReplicas } from './placement.ts'
import { formatCpu, formatMemory } from './quantity.ts'
import type { PlacementStrategy } from './score.ts'

/** Replicas of one revision that have to find other nodes. */
export type Movers = { request: PlacementRequest; count: number; strategy: PlacementStrategy }

/** Those of `movers` for which there is no room, `count` of them; `missing` is one line for users. */
export type Misfit = { movers: Movers; count: number; missing: string }

/**
 * What would not fit on `nodes` if all of `movers` went there together: each reserves its share before the next is
 * placed, the largest first, since what is small still fits into the gaps.
 */
export function findMisfits(movers: readonly Movers[], nodes: readonly PlacementNode[]): Misfit[] {
  const misfits: Misfit[] = []
  let left = nodes
  for (const each of movers.toSorted((a, b) => b.request.memoryBytes - a.request.memoryBytes)) {
    const { request, count, strategy } = each
    const placements = placeReplicas(request, count, left, { strategy })
    const taken = placements.flatMap((placement) => (placement.kind === 'placed' ? [placement.nodeId] : []))
    left = left.map((node) => reserveOn(node, request, taken.filter((id) => id === node.id).length))
    const unplaced = placements.find((placement) => placement.kind === 'unplaceable')
    if (unplaced?.kind !== 'unplaceable') continue
    const missing = roomMissing(request, left) ?? unplaced.summary
    misfits.push({ movers: each, count: count - taken.length, missing })
  }
  return misfits
}

function reserveOn(node: PlacementNode, request: PlacementRequest, count: number): PlacementNode {
  if (count === 0) return node
  const { memoryBytes, cpuMillis } = node.reserved
  return {
    ...node,
    reserved: {
      memoryBytes: memoryBytes + count * request.memoryBytes,
      cpuMillis: cpuMillis + count * request.cpuMillis,
    },
  }
}

/** "memory 512Mi asked, largest free 300Mi on n2"; undefined where it is not, or not only, for want of room. */
function roomMissing(request: PlacementRequest, nodes: readonly PlacementNode[]): string | undefined {
  const others = placementFilters.filter(({ name }) => name !== 'memory' && name !== 'cpu')
  const suitable = nodes.filter((node) => others.every((filter) => filter.check(node, request)))
  const memory = roomiest(suitable, freeMemoryBytes)
  if (memory !== undefined && request.memoryBytes > memory.free)
    return `memory ${formatMemory(request.memoryBytes)} asked, largest free ${formatMemory(memory.free)} on ${memory.name}`
  const cpu = roomiest(suitable, freeCpuMillis)
  if (cpu !== undefined && request.cpuMillis > cpu.free)
    return `cpu ${formatCpu(request.cpuMillis)} asked, largest free ${formatCpu(cpu.free)} on ${cpu.name}`
  return undefined
}

function roomiest(
  nodes: readonly PlacementNode[],
  freeOf: (node: PlacementNode) => number,
): { name: string; free: number } | undefined {
  return nodes
    .map((node) => ({ name: node.name, free: freeOf(node) }))
    .toSorted((a, b) => b.free - a.free)
    .at(0)
}
