import type {
  DeploymentId,
  IdleSettings,
  NodeReachability,
  NodeScheduling,
  NodeUid,
  PlacementStrategy,
  ProjectUid,
  ReplicaId,
  ReplicaState,
  RevisionTemplate,
  RevisionUid,
  Rung,
  ServiceUid,
  TrafficTarget,
} from '@berth/contracts'

/*
 * The leader's picture of the installation, kept in memory so that a wake needs no database: loaded at take-over,
 * refreshed by notifications and once a second. What the leader itself does to a replica changes the picture
 * first and the row right behind it.
 */

export type ServiceView = {
  uid: ServiceUid
  projectUid: ProjectUid
  project: string
  name: string
  generation: number
  minScale: number
  maxScale: number
  idle: IdleSettings
  deleting: boolean
  /** What is to be routed, by the reconciler's word: names of revisions, tags beside them. */
  traffic: TrafficTarget[]
}

export type RevisionView = {
  uid: RevisionUid
  serviceUid: ServiceUid
  name: string
  template: RevisionTemplate
  imageRepository: string
  imageDigest: string
  architectures: string[]
  ready: boolean
  failure: { reason: string; message: string } | null
  startMs: { cold?: number; parked?: number; frozen?: number }
}

export type ReplicaView = {
  id: ReplicaId
  serviceUid: ServiceUid
  projectUid: ProjectUid
  revisionUid: RevisionUid
  nodeUid: NodeUid
  deploymentId: DeploymentId | null
  state: ReplicaState
  rung: Rung
  address: string
  hostPort: number
  cpuMillis: number
  memoryBytes: number
  createdAt: Date
  readyAt: Date | null
  restarts: number
  reason: string | null
  message: string | null
  containers: { sandbox?: string; app?: string }
  /**
   * True while the route table may carry it. Only a replica that is `ready` on rung `running` and is not being
   * withdrawn is; the leader flips it, never the database.
   */
  serving: boolean
}

export type NodeView = {
  uid: NodeUid
  name: string
  endpoint: string
  address: string
  pool: string
  strategy: PlacementStrategy
  overcommitCpu: number
  labels: Record<string, string>
  scheduling: NodeScheduling
  reachability: NodeReachability
  cpuMillis: number
  memoryBytes: number
  systemReservedBytes: number
  architecture: string | null
  honestPorts: boolean
}
