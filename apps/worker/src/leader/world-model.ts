import type { WorldNode, WorldReplica, WorldRevision, WorldService } from '@berth/db'

/*
 * The leader's picture of the installation, kept in memory so that a wake needs no database: loaded at take-over,
 * refreshed by notifications and once a second. What the leader itself does to a replica changes the picture
 * first and the row right behind it.
 */

export type ServiceView = Omit<WorldService, 'deploying'>

export type RevisionView = WorldRevision

export type ReplicaView = WorldReplica & {
  /**
   * True while the route table may carry it. Only a replica that is `ready` on rung `running` and is not being
   * withdrawn is; the leader flips it, never the database.
   */
  serving: boolean
  /** On rung `parked`: its container runs and its app waits before the first instruction, as far as the leader knows. */
  held: boolean
}

/** Whether routers have it: a ready one with a reason fails its readiness probe at the moment. */
export function takesRequests({ serving, reason }: Pick<ReplicaView, 'serving' | 'reason'>): boolean {
  return serving && reason === null
}

export type NodeView = WorldNode
