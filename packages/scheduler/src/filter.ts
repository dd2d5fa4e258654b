import { minDiskFreeRatio } from './disk.ts'
import { freeCpuMillis, freeMemoryBytes, type PlacementNode, type PlacementRequest } from './node.ts'
import { formatCpu, formatMemory } from './quantity.ts'

/** A node refuses a replica for one reason at a time, so that refusals can be counted and shown. */
export type Filter = {
  name: string
  check(node: PlacementNode, request: PlacementRequest): boolean
  /** Why, without the count. `nodes` are those that it refused, at least one. */
  explain(nodes: readonly PlacementNode[], request: PlacementRequest): string
}

/** In the order in which they are asked: the first that refuses a node names the reason. */
export const placementFilters: readonly Filter[] = [
  {
    name: 'pool',
    check: (node, request) => node.pool === request.pool,
    explain: (_nodes, request) => `not in pool ${request.pool}`,
  },
  {
    name: 'reachability',
    check: (node) => node.reachability === 'ready',
    explain: () => 'down',
  },
  {
    name: 'scheduling',
    check: (node) => node.scheduling === 'active',
    explain: (nodes) => distinct(nodes.map((node) => node.scheduling)).join(' or '),
  },
  {
    name: 'volume',
    check: (node, { boundTo }) => boundTo === undefined || boundTo.nodeId === node.id,
    explain: (_nodes, { boundTo }) => `volume "${boundTo?.volume}" is on ${boundTo?.node}`,
  },
  {
    name: 'architecture',
    // An unknown side is no refusal: the check is repeated against the image before the start.
    check: (node, request) =>
      request.architecture === undefined ||
      node.architecture === undefined ||
      request.architecture.includes(node.architecture),
    explain: (nodes, request) =>
      `image is for ${request.architecture?.join(', ') || 'no architecture'}, node is ${distinct(nodes.map((node) => node.architecture ?? 'unknown')).join(' or ')}`,
  },
  {
    name: 'nodeSelector',
    check: (node, request) =>
      Object.entries(request.nodeSelector).every(([key, value]) => node.labels[key] === value),
    explain: (nodes, request) => {
      const lacking = Object.entries(request.nodeSelector).filter(([key, value]) =>
        nodes.some((node) => node.labels[key] !== value),
      )
      return `lacks label ${lacking.map(([key, value]) => `${key}=${value}`).join(', ')}`
    },
  },
  {
    name: 'excluded',
    check: (node, request) => !request.excludedNodes?.has(node.id),
    explain: (nodes, request) =>
      distinct(nodes.map((node) => request.excludedNodes?.get(node.id) ?? 'excluded')).join(', '),
  },
  {
    name: 'disk',
    check: (node) => node.diskFreeRatio === undefined || node.diskFreeRatio >= minDiskFreeRatio,
    explain: (nodes) => {
      const free = Math.max(...nodes.map((node) => node.diskFreeRatio ?? 0))
      return `disk ${Math.floor(free * 100)} % free, ${Math.round(minDiskFreeRatio * 100)} % needed`
    },
  },
  {
    name: 'memory',
    check: (node, request) => request.memoryBytes <= freeMemoryBytes(node),
    explain: (nodes, request) =>
      `memory ${formatMemory(request.memoryBytes)} asked, ${mostFree(nodes.map(freeMemoryBytes), formatMemory)}`,
  },
  {
    name: 'cpu',
    check: (node, request) => request.cpuMillis <= freeCpuMillis(node),
    explain: (nodes, request) =>
      `cpu ${formatCpu(request.cpuMillis)} asked, ${mostFree(nodes.map(freeCpuMillis), formatCpu)}`,
  },
]

function mostFree(free: readonly number[], format: (amount: number) => string): string {
  const same = distinct(free.map(format)).length === 1
  return `${same ? '' : 'at most '}${format(Math.max(...free))} free`
}

function distinct(texts: readonly string[]): string[] {
  return [...new Set(texts)].sort()
}
