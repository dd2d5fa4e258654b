import type { PlacementNode, PlacementRequest } from '../node.ts'
import type { ConcurrencySample, ScaleState } from '../scale.ts'

export const mebibyte = 1024 ** 2

/** An idle node of 4Gi and 2 cores with no overcommit. */
export function aNode(name: string, changes: Partial<PlacementNode> = {}): PlacementNode {
  return {
    id: `id-${name}`,
    name,
    pool: 'default',
    labels: {},
    scheduling: 'active',
    reachability: 'ready',
    capacity: { memoryBytes: 4096 * mebibyte, cpuMillis: 2000 },
    systemReservedBytes: 512 * mebibyte,
    reserved: { memoryBytes: 0, cpuMillis: 0 },
    architecture: 'amd64',
    overcommitCpu: 1,
    hasImage: false,
    frozenReplicas: 0,
    replicasOfService: 0,
    recentFailures: 0,
    startsUnderWay: 0,
    ...changes,
  }
}

/** A replica of 512Mi and a tenth of a core, for any node of the default pool. */
export function aRequest(changes: Partial<PlacementRequest> = {}): PlacementRequest {
  return {
    revision: 'hello-00001',
    serviceId: 'hello',
    pool: 'default',
    nodeSelector: {},
    architecture: ['amd64'],
    memoryBytes: 512 * mebibyte,
    cpuMillis: 100,
    ...changes,
  }
}

export const scaleNow = 1_000_000

/** One sample a second for the 60 s and a little before `scaleNow`. */
export function steadyWindow(concurrency: number): ConcurrencySample[] {
  return Array.from({ length: 62 }, (_, second) => ({ at: scaleNow - second * 1000, concurrency }))
}

/** A cold revision of concurrency 80 without traffic, every signal there. */
export function aScaleState(changes: Partial<ScaleState> = {}): ScaleState {
  return {
    concurrency: 80,
    minScale: 0,
    maxScale: 20,
    inFlight: 0,
    queued: 0,
    replicas: { starting: 0, running: 0, frozen: 0, parked: 0 },
    window: steadyWindow(0),
    averageStartMs: 500,
    signalsComplete: true,
    ...changes,
  }
}
