import type { ReplicaId, RevisionUid, RouteVersion, ServiceUid } from '@berth/contracts'
import type { NodeView, ReplicaView, RevisionView, ServiceView } from './world-model.ts'

/*
 * What the parts of the leader ask of each other. Each is built in `lead.ts`; tests put small stand-ins here.
 */

/** The leader's picture. Maps are live: read them, change them only through the methods. */
export type World = {
  readonly services: ReadonlyMap<ServiceUid, ServiceView>
  readonly revisions: ReadonlyMap<RevisionUid, RevisionView>
  readonly replicas: ReadonlyMap<ReplicaId, ReplicaView>
  readonly nodes: ReadonlyMap<string, NodeView>
  replicasOfRevision(revision: RevisionUid): ReplicaView[]
  replicasOfService(service: ServiceUid): ReplicaView[]
  /** Changes a replica in the picture and tells the listeners. */
  updateReplica(id: ReplicaId, change: Partial<ReplicaView>): void
  onChange(listener: (change: { services: ServiceUid[] }) => void): () => void
}

/** Why nothing can be started for a revision now; the router answers waiting requests with it at once. */
export type Blocked = { reason: string; message: string }

/** Turns the picture into the route table, numbers every change and gives it to every router. */
export type RoutePublisher = {
  /** Recomputes the routes of these services and publishes what changed. The version that carries the picture. */
  publish(services: readonly ServiceUid[]): RouteVersion
  setBlocked(revision: RevisionUid, blocked: Blocked | null): void
  /**
   * Waits until every router has acknowledged `version` or newer and lists the replica as lingering no more.
   * `busy` when requests are still in flight there at the deadline.
   */
  withdrawn(replica: ReplicaId, version: RouteVersion, deadlineMs: number): Promise<'withdrawn' | 'busy'>
  /** The whole table's version now. */
  readonly version: RouteVersion
}

/** What all routers together report about one revision. */
export type RevisionLoad = {
  inFlight: number
  queued: number
  /** Mean concurrency of the last 60 s and the last 6 s. */
  meanConcurrency60s: number
  meanConcurrency6s: number
  /** Time since the last request anywhere ended, 0 while one is in flight. */
  idleMs: number
}

export type RouterReports = {
  /** False while a known router has not reported for 2 s, or none is known: then nothing is stepped down. */
  complete(): boolean
  load(revision: RevisionUid): RevisionLoad
  /** What all routers together had in flight and queued, a sample per report of the last 60 s; `at` as `now()`. */
  samples(revision: RevisionUid): readonly { at: number; concurrency: number }[]
  /** Milliseconds since the replica's last request ended at any router, 0 while one is in flight. */
  replicaIdleMs(replica: ReplicaId): number
  onDemand(
    listener: (demand: { revision: RevisionUid; queued: number; inFlight: number }) => void,
  ): () => void
  onReplicaFailed(listener: (failed: { replica: ReplicaId; cause: string }) => void): () => void
}

/** Carries out what a replica needs, one thing at a time per replica; implemented by `replica-keeper.ts`. */
export type ReplicaKeeper = {
  /** Drives a `starting` row to `ready` or `failed`. Single flight per replica. */
  bringUp(id: ReplicaId): void
  /** Frozen or parked back to running; routes it when it answers. Single flight per replica. */
  wake(id: ReplicaId): Promise<'running' | 'failed'>
  /** Acknowledged withdrawal, then pause, stop, or stop and remove. `busy` leaves it running and routed. */
  stepDown(id: ReplicaId, to: 'frozen' | 'parked' | 'cold'): Promise<'done' | 'busy'>
  /** For a `draining` row: withdrawal, drain, SIGTERM, grace, SIGKILL, remove, row gone. */
  retire(id: ReplicaId): void
  /** Whether something is being done to the replica right now. */
  busyWith(id: ReplicaId): boolean
}
