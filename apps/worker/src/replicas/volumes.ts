import type { RevisionTemplate } from '@berth/contracts'
import type { ServiceVolume } from '@berth/db'
import { berthLabels, EngineError, type ContainerRuntime, type ContainerSummary } from '@berth/engine'
import { setTimeout as delay } from 'node:timers/promises'
import { volumeLabels, volumeName } from './container-names.ts'
import type { MountedVolume, ReplicaDeps, ReplicaHost, StartableReplica } from './replica-deps.ts'

type Mounts = Pick<RevisionTemplate, 'containers'>

/** Longer than any drain, which ends after 600 s at the latest. */
const freeWithinMs = 660_000
const lookAgainMs = 200

export function mountsVolumes(template: Mounts): boolean {
  return (template.containers[0]?.volumes ?? []).length > 0
}

/** What the app mounts, by the engine's names; a text says which volume was deleted. */
export function mountedVolumes(
  installation: string,
  template: Mounts,
  volumes: readonly ServiceVolume[],
): MountedVolume[] | string {
  const mounted: MountedVolume[] = []
  for (const { name, mountPath } of template.containers[0]?.volumes ?? []) {
    const volume = volumes.find((candidate) => candidate.name === name)
    if (volume === undefined) return `the volume "${name}" was deleted`
    const { uid, made } = volume
    mounted.push({ uid, made, name: volumeName(installation, uid), title: name, mountPath })
  }
  return mounted
}

/**
 * Makes the volumes that were never there, for everybody in the container to write to. One that was made must be there:
 * the engine would make an empty one in its place. Fails with an `EngineError`, `VolumeLost` among them.
 */
export async function ensureVolumes(
  deps: Pick<ReplicaDeps, 'fence' | 'installation' | 'rows'>,
  host: ReplicaHost,
  { volumes, project, service }: Pick<StartableReplica, 'volumes' | 'project' | 'service'>,
): Promise<void> {
  const labels = volumeLabels(deps.installation, { project, service })
  await Promise.all(
    volumes.map(async ({ uid, made, name, title }) => {
      if (!made) {
        await host.runtime.ensureVolume({ name, labels }, deps.fence)
        await host.runtime.openVolume({ name, labels }, host.sandboxImage, deps.fence)
        await deps.rows.recordVolumeMade(uid)
      } else if (!(await host.runtime.volumeExists(name)))
        throw new EngineError(
          'VolumeLost',
          `the volume "${title}" is not on the node "${host.name}" any more: restore a backup, or delete it`,
        )
    }),
  )
}

/** Fails with an `EngineError` when a volume would come to lie elsewhere than the service says. */
export async function refuseLinkedMounts(
  host: { runtime: Pick<ContainerRuntime, 'linkedPath'> },
  volumes: readonly Pick<MountedVolume, 'title' | 'mountPath'>[],
  app: string,
): Promise<void> {
  for (const { title, mountPath } of volumes) {
    const linked = await host.runtime.linkedPath(app, mountPath)
    if (linked)
      throw new EngineError(
        'InvalidSpec',
        `the volume "${title}" cannot be mounted at ${mountPath}: ${linked.path} is a symbolic link to ${linked.target} in the image`,
      )
  }
}

/**
 * Waits until no other container that runs has one of the volumes: two apps that write to one would spoil it. The
 * engine is asked and not the rows, since what a failed replica left may still run. Fails with an `EngineError`.
 */
export async function awaitVolumesFree(
  host: VolumeHost,
  volumes: readonly Pick<MountedVolume, 'name'>[],
  app: string,
  signal?: AbortSignal,
): Promise<void> {
  const deadline = performance.now() + freeWithinMs
  while (!signal?.aborted) {
    const others = await otherUsers(host, volumes, app)
    if (others.length === 0) return
    if (performance.now() >= deadline)
      throw new EngineError('Conflict', `a volume is still in use by ${others[0]?.name}`)
    await delay(lookAgainMs, undefined, { signal }).catch(() => {})
  }
}

type VolumeHost = { runtime: Pick<ContainerRuntime, 'volumeUsers'> }

/** A helper that runs only counts, and writes nothing. */
async function otherUsers(
  host: VolumeHost,
  volumes: readonly Pick<MountedVolume, 'name'>[],
  app: string,
): Promise<ContainerSummary[]> {
  const users = await Promise.all(volumes.map(({ name }) => host.runtime.volumeUsers(name)))
  return users
    .flat()
    .filter(({ id, state }) => id !== app && isUp(state))
    .filter(({ labels }) => labels[berthLabels.role] !== 'volume-helper')
}

function isUp(state: ContainerSummary['state']): boolean {
  return state === 'running' || state === 'paused' || state === 'restarting'
}
