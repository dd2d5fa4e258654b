/*
 * The states of a deployment, a replica and a node, and the moves between them that are legal.
 * Everything that stores or shows a state derives from the lists here.
 */

/**
 * queued      accepted by the API, no worker has looked yet
 * resolving   the tag is being turned into a digest
 * placing     nodes are being chosen
 * pulling     the chosen nodes fetch the image
 * starting    sandbox and app are being started
 * probing     the first replica runs and is asked whether it is ready
 * shifting    routes to the new revision are published and acknowledged
 * succeeded   traffic is where the service wants it; draining the old is a state of replicas
 * failed      ended with a reason; traffic never left the old revision
 * cancelled   the user stopped it
 * superseded  a newer deployment of the service took over
 */
export const deploymentPhases = [
  'queued',
  'resolving',
  'placing',
  'pulling',
  'starting',
  'probing',
  'shifting',
  'succeeded',
  'failed',
  'cancelled',
  'superseded',
] as const
export type DeploymentPhase = (typeof deploymentPhases)[number]

export const finalDeploymentPhases = ['succeeded', 'failed', 'cancelled', 'superseded'] as const
export type FinalDeploymentPhase = (typeof finalDeploymentPhases)[number]

export function isFinalPhase(phase: DeploymentPhase): phase is FinalDeploymentPhase {
  return (finalDeploymentPhases as readonly string[]).includes(phase)
}

/** A deployment moves forward only; from any phase that is not final it may end in any final one. */
export function mayMoveDeployment(from: DeploymentPhase, to: DeploymentPhase): boolean {
  if (isFinalPhase(from)) return false
  if (isFinalPhase(to)) return true
  return deploymentPhases.indexOf(to) > deploymentPhases.indexOf(from)
}

/** What started a deployment. */
export const deploymentTriggers = ['create', 'update', 'rollback'] as const
export type DeploymentTrigger = (typeof deploymentTriggers)[number]

/**
 * starting  reserved on a node; its sandbox or app is being made, started or probed
 * ready     answered its probe; on rung `running` it may be in the route table
 * draining  taken out of the route table for good; stops when its requests have ended
 * failed    ended by itself or could not start; kept for its reason until collected
 */
export const replicaStates = ['starting', 'ready', 'draining', 'failed'] as const
export type ReplicaState = (typeof replicaStates)[number]

/**
 * What befalls the replicas of a service beside its deployments:
 *
 * ReplicaRestarted  the app ended or hung, and is started again in its place
 * ReplicaFailed     the replica could not start, or was given up
 */
export const serviceEventKinds = ['ReplicaRestarted', 'ReplicaFailed'] as const
export type ServiceEventKind = (typeof serviceEventKinds)[number]

/** The idle ladder of design section 7, without `cold`: a cold revision has no replica row. */
export const rungs = ['running', 'frozen', 'parked'] as const
export type Rung = (typeof rungs)[number]

const replicaMoves: Record<ReplicaState, readonly ReplicaState[]> = {
  starting: ['ready', 'draining', 'failed'],
  ready: ['starting', 'draining', 'failed'],
  draining: ['failed'],
  failed: [],
}

export function mayMoveReplica(from: ReplicaState, to: ReplicaState): boolean {
  return replicaMoves[from].includes(to)
}

export const nodeScheduling = ['active', 'cordoned', 'draining'] as const
export type NodeScheduling = (typeof nodeScheduling)[number]

export const nodeReachability = ['ready', 'down'] as const
export type NodeReachability = (typeof nodeReachability)[number]

export const placementStrategies = ['spread', 'binpack'] as const
export type PlacementStrategy = (typeof placementStrategies)[number]

export const conditionStatuses = ['True', 'False', 'Unknown'] as const
export type ConditionStatus = (typeof conditionStatuses)[number]

/** Ends a `switch` over a union: a new member that nobody handles does not compile. */
export function assertNever(value: never): never {
  throw new Error(`unexpected value ${JSON.stringify(value)}`)
}
