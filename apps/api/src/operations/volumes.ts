import type { ServiceSpec, VolumeView } from '@berth/contracts'
import { desired, type Transaction } from '@berth/db'
import { ApiError, invalidFields, notFound } from '../api-error.ts'

/** Gives the volumes of a spec to its service. Throws `ApiError` invalid-field naming those that it cannot have. */
export async function claimVolumes(
  tx: Transaction,
  owner: { projectUid: string; serviceUid: string },
  spec: Pick<ServiceSpec, 'volumes'>,
): Promise<void> {
  const names = spec.volumes.map(({ name }) => name)
  const refusals = await desired.claimVolumes(tx, owner, names)
  if (refusals.length === 0) return
  throw invalidFields(
    refusals.map(({ name, because }) => ({
      path: `volumes.${names.indexOf(name)}.name`,
      message: `the volume "${name}" ${reasonOf(because)}`,
    })),
  )
}

function reasonOf(because: desired.ClaimRefusal['because']): string {
  if (because === 'being-deleted') return 'is being deleted'
  if (because === 'being-restored') return 'is being restored'
  return `belongs to the service "${because.usedBy}"`
}

/** Throws `ApiError` not-found. */
export async function findVolume(
  db: Parameters<typeof desired.findVolume>[0],
  projectUid: string,
  name: string,
): Promise<desired.VolumePicture> {
  const picture = await desired.findVolume(db, projectUid, name)
  if (picture === undefined) throw notFound('volume', name)
  return picture
}

/** With everything in it; shown until it is gone from its node. Throws `ApiError` not-found or in-use. */
export async function deleteVolume(
  tx: Transaction,
  project: { uid: string; name: string },
  name: string,
): Promise<VolumeView> {
  const volume = await desired.findVolumeForUpdate(tx, project.uid, name)
  if (volume === undefined) throw notFound('volume', name)
  if (volume.deletedAt === null && volume.restoringUntil !== null)
    throw new ApiError('conflict', 'The volume is being restored.')
  const user = await desired.userOfVolume(tx, volume)
  if (user !== undefined)
    throw new ApiError('in-use', `The service "${user}" mounts the volume: delete it, or deploy it without.`)
  const picture = await findVolume(tx, project.uid, name)
  await desired.markVolumeDeleted(tx, volume.uid)
  return { ...volumeView(project.name, picture), deleting: true }
}

export function volumeView(project: string, { volume, service, node }: desired.VolumePicture): VolumeView {
  return {
    name: volume.name,
    uid: volume.uid,
    project,
    service,
    node,
    deleting: volume.deletedAt !== null,
    restoring: volume.deletedAt === null && volume.restoringUntil !== null,
    createdAt: volume.createdAt.toISOString(),
  }
}
