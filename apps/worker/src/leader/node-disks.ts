import type { NodeUid } from '@berth/contracts'
import type { NodeImageUse } from '@berth/db'
import {
  digestOfLocalName,
  isEngineError,
  type ContainerRuntime,
  type DiskSpace,
  type Fence,
  type ImageSummary,
} from '@berth/engine'
import { collectableImages, freeRatio, isRelieved, needsCollection, type HeldImage } from '@berth/scheduler'
import type { Logger } from 'pino'
import type { NodeLanes } from './node-lanes.ts'
import type { NodeView } from './world-model.ts'

const measureEveryMs = 60_000

export type NodeDisksOptions = {
  nodes(): readonly NodeView[]
  /** The engine of a node that is ready, undefined otherwise. */
  runtimeOf(node: NodeView): ContainerRuntime | undefined
  /** Fails with an `EngineError`, or `LeaseLostError`. */
  measure(node: NodeView): Promise<DiskSpace>
  onMeasured(node: NodeView, disk: DiskSpace): void
  /** Images that this installation has brought to the node, and whether they are needed. */
  imageUse(node: NodeUid): Promise<readonly NodeImageUse[]>
  /** The node has lost these images, by their digests. */
  forget(node: NodeUid, digests: readonly string[]): Promise<void>
  lanes: NodeLanes
  fence: Fence
  log: Logger
  now?: () => number
}

export type NodeDisks = {
  /** Measures the disks of nodes where that is due, and waits for none of them. */
  tick(): void
  /** What was measured last, by the name of the node, for those that are there. */
  measured(): { node: string; disk: DiskSpace }[]
}

type Collectable = HeldImage & { names: string[]; digests: string[] }

/** Keeps an eye on the disk of every node, and removes images that nobody needs where it gets full. */
export function createNodeDisks(options: NodeDisksOptions): NodeDisks {
  const { lanes, fence, log } = options
  const now = options.now ?? (() => performance.now())
  const triedAt = new Map<NodeUid, number>()
  const disks = new Map<NodeUid, DiskSpace>()

  async function measure(node: NodeView): Promise<DiskSpace> {
    const disk = await options.measure(node)
    disks.set(node.uid, disk)
    options.onMeasured(node, disk)
    return disk
  }

  async function lookAfter(node: NodeView): Promise<void> {
    const before = disks.get(node.uid)
    const disk = await measure(node)
    if (!needsCollection(disk)) return
    if (before === undefined || !needsCollection(before))
      log.warn({ node: node.name, freePercent: percentFree(disk) }, 'disk of a node is nearly full')
    const runtime = options.runtimeOf(node)
    if (runtime !== undefined) await relieve(node, runtime)
  }

  /** One image after the other, since what an image gives back is known only when it is gone. */
  async function relieve(node: NodeView, runtime: ContainerRuntime): Promise<void> {
    const held = heldImages(await runtime.listImages(), await options.imageUse(node.uid))
    for (const image of collectableImages(held)) {
      if (!(await collect(node, runtime, image))) continue
      const disk = await measure(node)
      log.info({ node: node.name, digests: image.digests, freePercent: percentFree(disk) }, 'image collected')
      if (isRelieved(disk)) return
    }
  }

  /** False when it turned out that a container uses it. */
  async function collect(node: NodeView, runtime: ContainerRuntime, image: Collectable): Promise<boolean> {
    // It may have come into use while others were removed.
    const use = await options.imageUse(node.uid)
    if (!use.every(({ digest, inUse }) => !inUse || !image.digests.includes(digest))) return false
    try {
      for (const name of image.names) await runtime.removeImage(name, fence)
    } catch (error) {
      if (!isEngineError(error, 'Conflict')) throw error
      return false
    }
    await options.forget(node.uid, image.digests)
    return true
  }

  return {
    tick() {
      const ready = options.nodes().filter((node) => options.runtimeOf(node) !== undefined)
      const present = new Set(ready.map(({ uid }) => uid))
      for (const uid of triedAt.keys()) if (!present.has(uid)) triedAt.delete(uid)
      for (const uid of disks.keys()) if (!present.has(uid)) disks.delete(uid)
      for (const node of ready) {
        if (now() - (triedAt.get(node.uid) ?? -Infinity) < measureEveryMs) continue
        triedAt.set(node.uid, now())
        lanes.run(node.uid, () => lookAfter(node))
      }
    },
    measured: () =>
      options.nodes().flatMap(({ uid, name }) => {
        const disk = disks.get(uid)
        return disk === undefined ? [] : [{ node: name, disk }]
      }),
  }
}

/**
 * Images that are Berth's own: brought by this installation, and with no name that somebody else has given. What was
 * pulled has the name of its digest at the registry too, and stays as long as it has any.
 */
function heldImages(present: readonly ImageSummary[], use: readonly NodeImageUse[]): Collectable[] {
  const byDigest = new Map(use.map((each) => [each.digest, each]))
  return present.flatMap(({ id, tags, digests: pulledBy }) => {
    const digests = tags.map((tag) => digestOfLocalName(tag) ?? '')
    const known = digests.flatMap((digest) => byDigest.get(digest) ?? [])
    if (known.length === 0 || known.length < digests.length) return []
    if (!pulledBy.every((name) => digests.some((digest) => name.endsWith(`@${digest}`)))) return []
    return [
      {
        id,
        digests,
        names: [...pulledBy, ...tags],
        unusedMs: Math.min(...known.map(({ unusedMs }) => unusedMs)),
        retained: known.some(({ retained }) => retained),
        inUse: known.some(({ inUse }) => inUse),
      },
    ]
  })
}

function percentFree(disk: DiskSpace): number {
  return Math.floor(freeRatio(disk) * 100)
}
