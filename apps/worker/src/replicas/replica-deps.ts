import type { Environment, NodeUid, ProjectUid, Reason, ReplicaId, RevisionTemplate } from '@berth/contracts'
import type { ServiceVolume } from '@berth/db'
import type { ContainerRuntime, Fence } from '@berth/engine'
import type { ImageSupply } from './image-supply.ts'
import type { ReplicaRows } from './replica-rows.ts'
import type { StartGate } from './start-gate.ts'

/*
 * What the procedures of this folder work with. Each of them is idempotent and can be taken up again after a
 * crash: names of containers are made from ids, so what is there already is found and adopted. `LeaseLostError`
 * of the fence and of the rows passes through all of them; everything else becomes an outcome.
 */

/** A node as far as its engine and its published ports are concerned. */
export type ReplicaHost = {
  uid: NodeUid
  name: string
  runtime: ContainerRuntime
  /** OCI's word (amd64, arm64), null while unknown. */
  architecture: string | null
  /** Whether a connect to a published port is refused while nothing listens behind it. */
  honestPorts: boolean
  /** Thousandths of a core; bounds how many containers start at once. */
  cpuMillis: number
  /** What `ensureSandboxImage` gave. */
  sandboxImage: string
  /** Brings that image to the node again after somebody has removed it. Fails with an `EngineError`. */
  restoreSandboxImage(fence: Fence): Promise<void>
}

export type ReplicaContainers = { sandbox?: string; app?: string }

/** A volume, its name in the engine, and where the app finds it. `title` is what its service calls it. */
export type MountedVolume = Pick<ServiceVolume, 'uid' | 'made'> & {
  name: string
  title: string
  mountPath: string
}

/** All that is needed to start a replica; names are for labels and for the app, ids for everything else. */
export type StartableReplica = {
  id: ReplicaId
  projectUid: ProjectUid
  project: string
  service: string
  revision: string
  address: string
  hostPort: number
  template: RevisionTemplate
  /** `registry/repository`. */
  imageRepository: string
  imageDigest: string
  env: Environment
  volumes: readonly MountedVolume[]
  containers: ReplicaContainers
}

/** What waking, freezing and stopping need. */
export type PlacedReplica = Pick<StartableReplica, 'id' | 'address' | 'hostPort' | 'template' | 'containers'>

export type ReplicaDeps = {
  installation: string
  fence: Fence
  rows: ReplicaRows
  images: ImageSupply
  gate: StartGate
}

/** Why something did not work: `message` is for users and carries no value of a variable. */
export type Failure = { reason: Reason; message: string }
