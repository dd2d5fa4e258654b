import type { nodes, nodeStatus } from '../schema.ts'

const mebibyte = 1024 ** 2
const minSystemReservedBytes = 512 * mebibyte

export type NodeCapacity = { cpuMillis: number; memoryBytes: number; systemReservedBytes: number }

/**
 * What a node has: the operator's override, else what its engine said, else nothing. Held back for the machine:
 * the operator's number, else the greater of 512 MiB and a tenth.
 */
export function nodeCapacity(
  node: Pick<typeof nodes.$inferSelect, 'capacity' | 'systemReservedBytes'>,
  status: Pick<typeof nodeStatus.$inferSelect, 'cpuMillis' | 'memoryBytes'> | null,
): NodeCapacity {
  const cpuMillis = node.capacity?.cpuMillis ?? status?.cpuMillis ?? 0
  const memoryBytes = node.capacity?.memoryBytes ?? status?.memoryBytes ?? 0
  const systemReservedBytes =
    node.systemReservedBytes ?? Math.max(minSystemReservedBytes, Math.floor(memoryBytes / 10))
  return { cpuMillis, memoryBytes, systemReservedBytes }
}

/** 0..1, undefined until the disk was measured. */
export function diskFreeRatio(
  status: Pick<typeof nodeStatus.$inferSelect, 'diskTotalBytes' | 'diskFreeBytes'> | null,
): number | undefined {
  if (status?.diskTotalBytes == null || status.diskFreeBytes === null) return undefined
  return status.diskTotalBytes === 0 ? 0 : status.diskFreeBytes / status.diskTotalBytes
}
