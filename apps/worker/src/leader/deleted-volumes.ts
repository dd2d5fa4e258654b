import type { NodeUid, VolumeUid } from '@berth/contracts'
import type { ContainerRuntime, Fence } from '@berth/engine'
import type { Logger } from 'pino'
import { isLeaseLost, volumeName } from '../replicas/index.ts'
import type { NodeLanes } from './node-lanes.ts'

export type DeletedVolumesOptions = {
  installation: string
  /** Those that were deleted, with the node on which they may be; null when that was removed. */
  deleted(): Promise<{ uid: VolumeUid; nodeUid: NodeUid | null }[]>
  /** Undefined while the node does not answer. */
  runtimeOf(node: NodeUid): ContainerRuntime | undefined
  forget(uid: VolumeUid): Promise<void>
  lanes: NodeLanes
  fence: Fence
  log: Logger
}

/**
 * Starts to remove the data of volumes that were deleted, on each node by itself, then their rows. What cannot be
 * removed now is tried again.
 */
export async function removeDeletedVolumes(options: DeletedVolumesOptions): Promise<void> {
  const { installation, fence, log } = options

  async function remove(runtime: ContainerRuntime, uid: VolumeUid, node: NodeUid): Promise<void> {
    try {
      await runtime.removeVolume(volumeName(installation, uid), fence)
      await options.forget(uid)
      log.info({ volume: uid, nodeUid: node }, 'deleted volume removed')
    } catch (error) {
      if (isLeaseLost(error)) throw error
      log.warn({ err: error, volume: uid, nodeUid: node }, 'deleted volume could not be removed')
    }
  }

  for (const [node, deleted] of Map.groupBy(await options.deleted(), ({ nodeUid }) => nodeUid)) {
    if (node === null) {
      for (const { uid } of deleted) await options.forget(uid)
      continue
    }
    const runtime = options.runtimeOf(node)
    if (runtime === undefined) continue
    options.lanes.run(node, async () => {
      for (const { uid } of deleted) await remove(runtime, uid, node)
    })
  }
}
