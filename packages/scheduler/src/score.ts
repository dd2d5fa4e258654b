import type { PlacementNode, PlacementRequest } from './node.ts'

/**
 * spread   replicas of one service on different nodes first, then the emptier node
 * binpack  the fuller node, so that others stay free for what is large
 */
export type PlacementStrategy = 'spread' | 'binpack'

export type NodeScore = {
  nodeId: string
  total: number
  /** What the total is the sum of, for logs and for people who ask why. */
  parts: {
    fit: number
    antiAffinity: number
    image: number
    frozen: number
    failures: number
    starts: number
  }
}

/*
 * Spread: all parts but anti-affinity lie within a span of 2.8 (fit 1, image 0.2, frozen 0.1, failures 1,
 * starts 0.5), so 10 per replica of the same service decides before everything else does: no image that is
 * already there beats spreading.
 * Binpack: neither anti-affinity nor starts count. One replica of 16Mi adds far less than 0.01 to the fit of its
 * node, so the smallest penalty for being there would send the next one elsewhere, which is not packing.
 */
const antiAffinityWeight = { spread: 10, binpack: 0 } as const
const startWeight = { spread: 0.05, binpack: 0 } as const
const maxStartPenalty = 0.5
const imageWeight = 0.2
const frozenWeight = 0.1
const failureWeight = 0.25
const maxFailurePenalty = 1

/** How well a node that passed every filter suits the replica; the highest total wins. */
export function scoreNode(
  node: PlacementNode,
  request: PlacementRequest,
  strategy: PlacementStrategy,
): NodeScore {
  const share = dominantShareAfter(node, request)
  const parts = {
    fit: strategy === 'spread' ? 1 - share : share,
    antiAffinity: negative(node.replicasOfService * antiAffinityWeight[strategy]),
    image: node.hasImage ? imageWeight : 0,
    // Its layers are unpacked and its files are in the page cache there.
    frozen: node.frozenReplicas > 0 ? frozenWeight : 0,
    failures: negative(Math.min(maxFailurePenalty, node.recentFailures * failureWeight)),
    // One engine starts about eight containers a second, whoever asks.
    starts: negative(Math.min(maxStartPenalty, node.startsUnderWay * startWeight[strategy])),
  }
  const sum = parts.fit + parts.antiAffinity + parts.image + parts.frozen + parts.failures + parts.starts
  // Rounded, so that noise of the arithmetic never decides instead of the name.
  return { nodeId: node.id, total: Math.round(sum * 1e9) / 1e9, parts }
}

/** 0..1: how full the fuller of memory and CPU is once the replica is there. */
function dominantShareAfter(node: PlacementNode, request: PlacementRequest): number {
  const memory =
    (node.reserved.memoryBytes + request.memoryBytes) / (node.capacity.memoryBytes - node.systemReservedBytes)
  const cpu = (node.reserved.cpuMillis + request.cpuMillis) / (node.capacity.cpuMillis * node.overcommitCpu)
  return Math.max(bounded(memory), bounded(cpu))
}

function bounded(ratio: number): number {
  return Number.isNaN(ratio) ? 1 : Math.min(1, Math.max(0, ratio))
}

function negative(penalty: number): number {
  return penalty === 0 ? 0 : -penalty
}
