import type {
  DeploymentId,
  NodeUid,
  Reason,
  ReplicaId,
  RevisionUid,
  RolloutProgress,
  TrafficTarget,
} from '@berth/contracts'
import type { Condition, DeploymentEnd, RollbackCause, TrafficBefore } from '@berth/db'

/** What the registry said about a service's image, and the hash of all that the revision is made from. */
export type ResolvedImage = {
  repository: string
  digest: string
  /** Empty when the registry does not say. */
  architectures: string[]
  contentHash: string
}

/**
 * The next safe steps of a service. Each is idempotent, guarded by the lease of the pass, and right in any order
 * with the others of the same plan; after them the service is read and planned again.
 */
export type Action =
  /** Ask the registry for the digest; the answer goes into the memory of the service. */
  | { kind: 'resolve-image'; deployment: DeploymentId; attempt: number }
  /** `suffix` names it, null: its number does. */
  | { kind: 'make-revision'; deployment: DeploymentId; image: ResolvedImage; suffix: string | null }
  /** The deployment brings a revision that is there already. */
  | {
      kind: 'reuse-revision'
      deployment: DeploymentId
      revision: { uid: RevisionUid; name: string }
      message: string
    }
  /** One replica on each of `nodes`, which may repeat; `atMost` bounds the replicas of the service. */
  | {
      kind: 'place-replicas'
      deployment: DeploymentId
      revision: { uid: RevisionUid; name: string }
      nodes: { uid: NodeUid; name: string }[]
      atMost: number
    }
  /** One replica in the place of each of `of`, which goes once the new one is ready. */
  | {
      kind: 'replace-replicas'
      revision: { uid: RevisionUid; name: string }
      replacements: { of: ReplicaId; node: { uid: NodeUid; name: string } }[]
      atMost: number
    }
  | { kind: 'report-trouble'; deployment: DeploymentId; reason: Reason; message: string }
  /** Let the leader route this from now on; with a deployment it is a step of its shift. */
  | {
      kind: 'shift-traffic'
      traffic: TrafficTarget[]
      deployment: { id: DeploymentId; message: string; rollout: RolloutProgress } | null
      ready: { uid: RevisionUid; name: string; latest: boolean } | null
    }
  /** Every router serves the step that the deployment is at. */
  | { kind: 'note-rollout'; deployment: DeploymentId; rollout: RolloutProgress; message: string }
  /** The deployment ends, and what served before it gets its traffic back. */
  | { kind: 'take-traffic-back'; deployment: DeploymentId; back: TrafficBefore; end: DeploymentEnd }
  /** The deployment has succeeded, and what served before it gets its traffic back all the same. */
  | { kind: 'roll-back'; deployment: DeploymentId; back: TrafficBefore; why: RollbackCause }
  | ({ kind: 'finish-deployment'; deployment: DeploymentId } & DeploymentEnd)
  | { kind: 'retire-replicas'; replicas: ReplicaId[] }
  | { kind: 'set-condition'; observedGeneration: number; ready: Condition }
  | { kind: 'delete-service' }
  /** Nothing to do before `untilMs` (milliseconds since 1970) unless somebody changes a row. */
  | { kind: 'wait'; reason: string; untilMs: number }

/**
 * What a worker remembers of a service between two passes. Losing it costs another question to the registry and
 * nothing else.
 */
export type ServiceMemory = {
  image?: { deployment: DeploymentId; generation: number } & (
    | { kind: 'asking' }
    | { kind: 'resolved'; image: ResolvedImage }
    | { kind: 'failed'; attempts: number; reason: Reason; message: string; failedAtMs: number }
  )
}
