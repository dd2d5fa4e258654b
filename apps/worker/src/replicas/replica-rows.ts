import type { VolumeUid } from '@berth/contracts'
import {
  ensureProjectNetwork,
  forgetUnusedNetwork,
  giveUpSpare,
  loseSpare,
  markSpareReady,
  recordContainers,
  recordVolumeMade,
  reserveSpare,
  spareOfReplica,
  takeSpare,
  type Database,
  type LeaseRef,
  type SpareKey,
  type SpareRow,
} from '@berth/db'
import { networkName } from './container-names.ts'
import type { ReplicaContainers } from './replica-deps.ts'

/** The rows that starting and stopping need. All throw `LeaseLostError` and `StoreUnavailableError`. */
export type ReplicaRows = {
  /** The project's network on the node; its subnet is none of `avoid`. */
  projectNetwork(
    nodeUid: string,
    projectUid: string,
    avoid: readonly string[],
  ): Promise<{ name: string; subnet: string }>
  /** The name of the network that no row is for any more; null when a replica or a spare needs it. */
  forgetUnusedNetwork(nodeUid: string, projectUid: string): Promise<string | null>
  recordContainers(replicaId: string, containers: ReplicaContainers): Promise<void>
  reserveSpare(key: SpareKey): Promise<SpareRow | null>
  markSpareReady(id: string, containerId: string): Promise<void>
  /** Binds a spare to the replica, one that is still being made if need be; its port becomes the replica's. */
  takeSpare(key: SpareKey, replicaId: string): Promise<SpareRow | null>
  spareOfReplica(replicaId: string): Promise<SpareRow | null>
  /** The spare of the replica is dead: the replica keeps the port, for a sandbox of its own. */
  loseSpare(replicaId: string): Promise<void>
  recordVolumeMade(uid: VolumeUid): Promise<void>
  /** False when a replica has it, or there is none. */
  giveUpSpare(id: string): Promise<boolean>
}

/** `networkCidr` is the block that subnets are cut from (`BERTH_NETWORK_CIDR`). */
export function replicaRows(
  db: Database,
  lease: LeaseRef,
  options: { installation: string; networkCidr: string },
): ReplicaRows {
  return {
    projectNetwork: (nodeUid, projectUid, avoid) =>
      ensureProjectNetwork(db, lease, {
        nodeUid,
        projectUid,
        name: networkName(options.installation, projectUid),
        cidr: options.networkCidr,
        avoid,
      }),
    forgetUnusedNetwork: (nodeUid, projectUid) => forgetUnusedNetwork(db, lease, nodeUid, projectUid),
    async recordContainers(replicaId, containers) {
      await recordContainers(db, lease, replicaId, containers)
    },
    reserveSpare: (key) => reserveSpare(db, lease, key),
    async markSpareReady(id, containerId) {
      await markSpareReady(db, lease, id, containerId)
    },
    takeSpare: (key, replicaId) => takeSpare(db, lease, key, replicaId, { joinUnready: true }),
    spareOfReplica: (replicaId) => spareOfReplica(db, replicaId),
    loseSpare: (replicaId) => loseSpare(db, lease, replicaId),
    recordVolumeMade: (uid) => recordVolumeMade(db, lease, uid),
    giveUpSpare: (id) => giveUpSpare(db, lease, id),
  }
}
