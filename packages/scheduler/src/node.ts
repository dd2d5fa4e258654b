/** What a replica takes from a node. `cpuMillis` are thousandths of a core. */
export type Resources = { memoryBytes: number; cpuMillis: number }

/**
 * A node as placement sees it, for one revision: `hasImage`, `frozenReplicas` and `replicasOfService` speak of
 * the revision that is being placed and of its service.
 */
export type PlacementNode = {
  id: string
  name: string
  pool: string
  labels: Readonly<Record<string, string>>
  scheduling: 'active' | 'cordoned' | 'draining'
  reachability: 'ready' | 'down'
  capacity: Resources
  /** Held back for the engine and the machine itself. */
  systemReservedBytes: number
  /** What replicas on it have reserved: frozen ones their memory too, parked ones nothing. */
  reserved: Resources
  /** As the engine reports it, "amd64" or "arm64"; undefined when it has not been asked. */
  architecture: string | undefined
  /** How many times the cores may be promised, 1 and more. */
  overcommitCpu: number
  hasImage: boolean
  frozenReplicas: number
  replicasOfService: number
  recentFailures: number
  startsUnderWay: number
  /** 0..1 of the file system that holds the images; undefined when unknown. */
  diskFreeRatio?: number | undefined
}

/** A replica that needs a node. */
export type PlacementRequest = Resources & {
  revision: string
  serviceId: string
  pool: string
  nodeSelector: Readonly<Record<string, string>>
  /** What the image was built for; undefined when the registry did not say. */
  architecture: readonly string[] | undefined
  /** The only node that may be taken, since what the replica mounts is there. */
  boundTo?: { nodeId: string; node: string; volume: string } | undefined
  /** Nodes that must not be taken this time, by node id, each with the reason that the user is told. */
  excludedNodes?: ReadonlyMap<string, string> | undefined
}

export function freeMemoryBytes(node: PlacementNode): number {
  return node.capacity.memoryBytes - node.systemReservedBytes - node.reserved.memoryBytes
}

/** Thousandths of a core that may still be promised, overcommit included. */
export function freeCpuMillis(node: PlacementNode): number {
  return node.capacity.cpuMillis * node.overcommitCpu - node.reserved.cpuMillis
}
