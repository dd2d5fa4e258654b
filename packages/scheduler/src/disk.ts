/*
 * A node's disk, of which image collection keeps a part free:
 *
 * 85 % used  unused images go, and nothing new is placed there until more is free
 * 80 % used  far enough: the rest of the images stays
 */

/** Used, 0..1, from which images are collected. */
const collectFrom = 0.85
/** Used, 0..1, down to which they are. */
const collectDownTo = 0.8
/** Free, 0..1, below which a node takes no new replica: images and logs of those that are there still have to fit. */
export const minDiskFreeRatio = 0.15
/** One that was just brought may be for a start whose replica is not known yet. */
const minUnusedMs = 10 * 60_000

export type DiskSpace = { totalBytes: number; freeBytes: number }

/** An image on a node that Berth has brought there. */
export type HeldImage = {
  id: string
  /** Since it was last brought, or found there for a start. */
  unusedMs: number
  /** A revision still names it: to go back to that one must not need a registry. */
  retained: boolean
  /** Replicas, traffic, an open deployment or the newest ready revision of a service need it. */
  inUse: boolean
}

export function freeRatio({ totalBytes, freeBytes }: DiskSpace): number {
  return totalBytes === 0 ? 0 : freeBytes / totalBytes
}

export function needsCollection(disk: DiskSpace): boolean {
  return 1 - freeRatio(disk) >= collectFrom
}

export function isRelieved(disk: DiskSpace): boolean {
  return 1 - freeRatio(disk) <= collectDownTo
}

/** What may go, in the order in which it goes: the least recently used first. Nothing that a revision names. */
export function collectableImages<Image extends HeldImage>(images: readonly Image[]): Image[] {
  return images
    .filter(({ inUse, retained, unusedMs }) => !inUse && !retained && unusedMs >= minUnusedMs)
    .toSorted((a, b) => b.unusedMs - a.unusedMs)
}
