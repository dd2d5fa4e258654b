import type { NodeUid, VolumeUid } from '@berth/contracts'
import type { ContainerRuntime, Fence } from '@berth/engine'
import type { Logger } from 'pino'
import { isLeaseLost, volumeName } from '../replicas/index.ts'

export type DeletedVolumesOptions = {
  installation: string
  /** Those that were deleted, with the node on which they may be; null when that was removed. */
  deleted(): Promise<{ uid: VolumeUid; nodeUid: NodeUid | null }[]>
  /** Undefined while the node does not answer. */
  runtimeOf(node: NodeUid): ContainerRuntime | undefined
  forget(uid: VolumeUid): Promise<void>
  fence: Fence
  log: Logger
}

/** Removes the data of volumes that were deleted, then their rows. What cannot be removed now is tried again. */
export async function removeDeletedVolumes(options: DeletedVolumesOptions): Promise<void> {
  const { installation, log } = options
  await Promise.all(
    (await options.deleted()).map(async ({ uid, nodeUid }) => {
      const runtime = nodeUid === null ? null : options.runtimeOf(nodeUid)
      if (runtime === undefined) return
      try {
        await runtime?.removeVolume(volumeName(installation, uid), options.fence)
        await options.forget(uid)
        log.info({ volume: uid, node: nodeUid }, 'deleted volume removed')
      } catch (error) {
        if (isLeaseLost(error)) throw error
        log.warn({ err: error, volume: uid, node: nodeUid }, 'deleted volume could not be removed')
      }
    }),
  )
}
