import type { VolumePlace } from '@berth/contracts'
import { Readable } from 'node:stream'
import type { ReadableStream } from 'node:stream/web'
import { ApiError } from '../api-error.ts'
import type { ApiContext } from '../context.ts'
import { readVolumeArchive, readVolumeSize, writeVolumeArchive } from '../worker-client/volume-archive.ts'

type Context = Pick<ApiContext, 'controlSocket'>

/** As its row says; `nodeUid` is null until a replica has mounted it. */
export type StoredVolume = { name: string; uid: string; nodeUid: string | null }

/** The volume as a tar; its stream fails unless it is whole. Throws `ApiError` as `readVolumeArchive`, or conflict. */
export async function backUpVolume(
  { controlSocket }: Context,
  volume: StoredVolume,
  signal: AbortSignal,
): Promise<ReadableStream<Uint8Array>> {
  const tar = await readVolumeArchive(controlSocket, placeOf(volume), { signal })
  return Readable.toWeb(tar)
}

/** Unpacks a tar over what is in the volume. Throws `ApiError` as `writeVolumeArchive`, or conflict. */
export async function restoreVolume(
  { controlSocket }: Context,
  volume: StoredVolume,
  body: ReadableStream<Uint8Array>,
  signal: AbortSignal,
): Promise<void> {
  await writeVolumeArchive(controlSocket, placeOf(volume), Readable.fromWeb(body), { signal })
}

/** Bytes on the disk of the node. Throws `ApiError` as `readVolumeSize`, or conflict. */
export async function measureVolume(
  { controlSocket }: Context,
  volume: StoredVolume,
  signal: AbortSignal,
): Promise<number> {
  return await readVolumeSize(controlSocket, placeOf(volume), { signal })
}

function placeOf({ name, uid, nodeUid }: StoredVolume): VolumePlace {
  if (nodeUid !== null) return { nodeUid, volumeUid: uid }
  throw new ApiError('conflict', `The volume "${name}" is on no node yet: no replica has mounted it.`)
}
