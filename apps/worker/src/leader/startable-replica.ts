import type { Environment, RevisionUid } from '@berth/contracts'
import { mountedVolumes, type ReplicaDeps, type StartableReplica } from '../replicas/index.ts'
import type { ReplicaView } from './world-model.ts'
import type { Picture } from './world.ts'

/**
 * All that is needed to start the replica; null when its revision or service is gone, a text when a volume of it was
 * deleted. Rejects while the database is away and its environment was never read.
 */
export async function startableReplica(
  about: {
    picture: Pick<Picture, 'revisions' | 'services'>
    deps: Pick<ReplicaDeps, 'installation'>
    environmentOf(revision: RevisionUid): Promise<Environment | null>
  },
  replica: ReplicaView,
): Promise<StartableReplica | string | null> {
  const revision = about.picture.revisions.get(replica.revisionUid)
  const service = about.picture.services.get(replica.serviceUid)
  if (revision === undefined || service === undefined) return null
  const env = await about.environmentOf(revision.uid)
  if (env === null) return null
  const volumes = mountedVolumes(about.deps.installation, revision.template, service.volumes)
  if (typeof volumes === 'string') return volumes
  return {
    id: replica.id,
    projectUid: replica.projectUid,
    project: service.project,
    service: service.name,
    revision: revision.name,
    address: replica.address,
    hostPort: replica.hostPort,
    template: revision.template,
    imageRepository: revision.imageRepository,
    imageDigest: revision.imageDigest,
    env,
    volumes,
    containers: replica.containers,
  }
}
