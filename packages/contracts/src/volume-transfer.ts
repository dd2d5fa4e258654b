import { z } from 'zod'

/*
 * How the API asks the leader for what is in a volume, over its control socket:
 * `GET`, `PUT /nodes/:node/volumes/:volume/archive` stream a tar out (200) and in (204);
 * `GET /nodes/:node/volumes/:volume/size` answers `volumeSizeAnswer`. A refusal is a `volumeRefusal`.
 */

/** Where a volume is, by uids. */
export type VolumePlace = { nodeUid: string; volumeUid: string }

export function volumeTransferPath({ nodeUid, volumeUid }: VolumePlace, what: 'archive' | 'size'): string {
  return `/nodes/${nodeUid}/volumes/${volumeUid}/${what}`
}

/** Bytes on the disk of its node. */
export const volumeSizeAnswer = z.object({ bytes: z.int().nonnegative() })

/** The status of each refusal on the control socket. */
export const volumeRefusalStatus = {
  /** The node answers, and has no such volume. */
  'volume-gone': 404,
  /** What was sent is no tar, or leads out of the volume. */
  'archive-invalid': 422,
  /** The node or its engine does not answer, or fails. */
  'node-unavailable': 503,
  'no-space': 507,
} as const
export type VolumeRefusalCode = keyof typeof volumeRefusalStatus

const refusalCodes = Object.keys(volumeRefusalStatus) as [VolumeRefusalCode, ...VolumeRefusalCode[]]
export const volumeRefusal = z.object({ code: z.enum(refusalCodes), message: z.string() })
export type VolumeRefusal = z.infer<typeof volumeRefusal>
