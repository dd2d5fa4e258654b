import { nameProblem, volumeNameLength, type VolumeView } from '@berth/contracts'
import { desired, type Database } from '@berth/db'
import type { ReadableStream } from 'node:stream/web'
import { ApiError, invalidField } from '../api-error.ts'
import type { ApiContext } from '../context.ts'
import { restoreVolume } from './volume-archives.ts'
import { findVolume, volumeView } from './volumes.ts'

const putOffEveryMs = 30_000

/**
 * Makes a new volume on a node from a tar. Nothing is ever restored over data that is there, and a volume exists for
 * services once all of it has arrived; what a broken upload leaves is removed. Throws `ApiError` invalid-field,
 * invalid-query or already-exists, or as `restoreVolume`.
 */
export async function makeVolumeFrom(
  context: ApiContext,
  db: Database,
  project: { uid: string; name: string },
  volume: { name: string; node: string | undefined },
  tar: { body: ReadableStream<Uint8Array>; signal: AbortSignal },
): Promise<VolumeView> {
  const { name } = volume
  const problem = nameProblem(name, volumeNameLength.min, volumeNameLength.max)
  if (problem !== undefined) throw invalidField('volume', problem)
  const nodeUid = await nodeFor(db, volume.node)
  const begun = await desired.beginRestore(db, { projectUid: project.uid, name, nodeUid })
  if (begun === null)
    throw new ApiError(
      'already-exists',
      `A volume "${name}" exists already: delete it first, or restore under another name.`,
    )
  const { uid } = begun
  const puttingOff = setInterval(() => {
    desired.putRestoreOff(db, uid).catch(() => {})
  }, putOffEveryMs)
  try {
    await restoreVolume(context, { name, uid, nodeUid }, tar.body, tar.signal)
    if (!(await desired.endRestore(db, uid)))
      throw new ApiError('conflict', 'The restore was given up, since the database was away for too long.')
  } catch (error) {
    // Without the database the leader gives it up when nobody has put that off for two minutes.
    await desired.giveRestoreUp(db, uid).catch(() => {})
    throw error
  } finally {
    clearInterval(puttingOff)
  }
  return volumeView(project.name, await findVolume(db, project.uid, name))
}

/** The node of this name, or the only one there is. */
async function nodeFor(db: Database, name: string | undefined): Promise<string> {
  if (name !== undefined) {
    const found = await desired.findNode(db, name)
    if (found === undefined) throw new ApiError('invalid-query', `node: there is no node "${name}".`)
    return found.node.uid
  }
  const [only, ...others] = await desired.listNodes(db, { limit: 2 })
  if (only === undefined || others.length > 0)
    throw new ApiError(
      'invalid-query',
      'node: is required: the volume never leaves the node that it is made on.',
    )
  return only.node.uid
}
