import type { NodeUid, VolumePlace } from '@berth/contracts'
import { berthLabels, EngineError, isEngineError, type Fence, type VolumeHelper } from '@berth/engine'
import type { Readable } from 'node:stream'
import { volumeName, type ReplicaHost } from '../replicas/index.ts'

export type VolumeTransfersOptions = {
  installation: string
  /** Null while the node does not answer. */
  hostOf(node: NodeUid): ReplicaHost | null
  fence: Fence
  /** Ends all transfers: the next leader takes their helpers for garbage. */
  signal: AbortSignal
}

/** Reads and writes of volumes by clients. All fail with an `EngineError`, or with `LeaseLostError`. */
export type VolumeTransfers = {
  /** The tar ends with an error when `signal` aborts, when nobody reads it for 60 s, or when the engine breaks off. */
  read(place: VolumePlace, signal: AbortSignal): Promise<Readable>
  /** A volume that is not there is made first, open to everybody: a restore is what it begins with. */
  write(place: VolumePlace, tar: Readable, signal: AbortSignal): Promise<void>
  /** Bytes on the disk. */
  measure(place: VolumePlace, signal: AbortSignal): Promise<number>
  /** Whether any is under way on the node: then its helpers are no garbage, however old. */
  underWay(node: NodeUid): boolean
}

export function createVolumeTransfers(options: VolumeTransfersOptions): VolumeTransfers {
  const { installation, fence } = options
  const labels = { [berthLabels.installation]: installation }
  const counts = new Map<string, number>()

  function count(node: string, change: 1 | -1): void {
    counts.set(node, (counts.get(node) ?? 0) + change)
  }

  /** Runs `work`, once more after the sandbox's image was brought back where somebody has removed it. */
  async function transfer<Result>(
    { nodeUid, volumeUid }: VolumePlace,
    signal: AbortSignal,
    work: (host: ReplicaHost, volume: string, helper: VolumeHelper, signal: AbortSignal) => Promise<Result>,
  ): Promise<Result> {
    const host = options.hostOf(nodeUid as NodeUid)
    if (host === null) throw new EngineError('EngineUnreachable', 'the node of the volume does not answer')
    const attempt = () =>
      work(
        host,
        volumeName(installation, volumeUid),
        { image: host.sandboxImage, labels },
        AbortSignal.any([signal, options.signal]),
      )
    count(nodeUid, 1)
    try {
      return await attempt().catch(async (error: unknown) => {
        if (!isEngineError(error, 'ImageNotFound')) throw error
        await host.restoreSandboxImage(fence)
        return await attempt()
      })
    } finally {
      count(nodeUid, -1)
    }
  }

  return {
    read: (place, outer) =>
      transfer(place, outer, async ({ runtime }, volume, helper, signal) => {
        const tar = await runtime.readVolume(volume, helper, fence, signal)
        count(place.nodeUid, 1)
        return tar.once('close', () => count(place.nodeUid, -1))
      }),
    write(place, tar, outer) {
      let isNew = false
      return transfer(place, outer, async ({ runtime }, name, helper, signal) => {
        const volume = { name, labels: { ...labels, [berthLabels.role]: 'volume' } }
        isNew ||= !(await runtime.volumeExists(name))
        if (isNew) {
          await runtime.ensureVolume(volume, fence)
          await runtime.openVolume(volume, helper.image, fence)
        }
        await runtime.writeVolume(name, helper, tar, fence, signal)
      })
    },
    measure: (place, outer) =>
      transfer(place, outer, ({ runtime }, volume, helper, signal) =>
        runtime.measureVolume(volume, helper, fence, signal),
      ),
    underWay: (node) => (counts.get(node) ?? 0) > 0,
  }
}
