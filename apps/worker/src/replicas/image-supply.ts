import {
  EngineError,
  isEngineError,
  localImageName,
  streamImageTar,
  type ContainerRuntime,
  type Fence,
  type ImageState,
  type PullProgress,
  type RegistryAccess,
} from '@berth/engine'
import type { ReplicaHost } from './replica-deps.ts'

type WantedImage = {
  projectUid: string
  /** `registry/repository`. */
  imageRepository: string
  imageDigest: string
}

type ImageProgress = (message: string) => void

/** Brings images to nodes: once per node and digest at a time, whoever asks. */
export type ImageSupply = {
  /**
   * The id of the image on the node, fetched when it is missing; `onProgress` is called only then. Fails with an
   * `EngineError`, or `LeaseLostError`.
   */
  ensure(host: ReplicaHost, image: WantedImage, onProgress: ImageProgress, fence: Fence): Promise<string>
}

export type ImageSupplyOptions = {
  /** Whom the worker may ask, with the logins of a project. */
  accessOf(projectUid: string): RegistryAccess
  /** Engines of other nodes that answer and may have the image already. */
  otherRuntimes(host: ReplicaHost): readonly ContainerRuntime[]
  /** The node has the image by this digest now, and a start is about to use it. */
  onPresent?(host: ReplicaHost, digest: string): void
}

/**
 * A node pulls by itself; when it cannot reach the registry, the worker streams the image to it, from the registry
 * or, when that is down, from another node that has it.
 */
export function createImageSupply(options: ImageSupplyOptions): ImageSupply {
  const underWay = new Map<string, { done: Promise<string>; listeners: Set<ImageProgress> }>()

  async function fetch(host: ReplicaHost, image: WantedImage, tell: ImageProgress, fence: Fence) {
    const place = splitRepository(image.imageRepository)
    const access = options.accessOf(image.projectUid)
    tell(`pulling ${place.repository}`)
    try {
      const auth = await access.credentials(place.registry)
      const pulled = await host.runtime.pull(
        {
          registryAddress: place.registry,
          repository: place.repository,
          digest: image.imageDigest,
          ...(auth === undefined ? {} : { auth }),
          ...(host.architecture === null ? {} : { architecture: host.architecture }),
          onProgress: throttledProgress(place.repository, tell),
        },
        fence,
      )
      return pulled.id
    } catch (error) {
      if (!isEngineError(error) || !mayBeFed(error, place.registry)) throw error
      return await feed(host, image, tell, fence, error)
    }
  }

  /** Through the worker. `cause` is why the node could not pull, and is what fails when nobody has the image. */
  async function feed(
    host: ReplicaHost,
    image: WantedImage,
    tell: ImageProgress,
    fence: Fence,
    cause: EngineError,
  ): Promise<string> {
    const place = splitRepository(image.imageRepository)
    const name = localImageName(place.repository, image.imageDigest)
    const architecture = host.architecture ?? (await host.runtime.info()).architecture
    tell(`the node cannot reach the registry, streaming ${place.repository} to it`)
    try {
      const access = options.accessOf(image.projectUid)
      const tar = streamImageTar({ ...place, digest: image.imageDigest }, architecture, access)
      await host.runtime.loadImage(tar, fence)
    } catch (error) {
      if (!isEngineError(error, 'RegistryUnreachable')) throw error
      if (!(await copyFromNeighbour(host, name, architecture, fence))) throw cause
    }
    const loaded = await host.runtime.inspectImage(name)
    if (loaded === null) throw new EngineError('ImageCorrupt', `the node did not keep "${name}"`)
    return loaded.id
  }

  async function copyFromNeighbour(host: ReplicaHost, name: string, architecture: string, fence: Fence) {
    for (const neighbour of options.otherRuntimes(host)) {
      try {
        const found = await neighbour.inspectImage(name)
        if (found?.architecture !== architecture) continue
        await host.runtime.loadImage(await neighbour.saveImage(name), fence)
        return true
      } catch (error) {
        // The next one may do better; when none does, the failure of the node's own pull is told.
        if (!isEngineError(error)) throw error
      }
    }
    return false
  }

  return {
    async ensure(host, image, onProgress, fence) {
      const key = `${host.uid} ${image.imageRepository} ${image.imageDigest}`
      const joined = underWay.get(key)
      if (joined !== undefined) {
        joined.listeners.add(onProgress)
        return joined.done
      }
      const listeners = new Set([onProgress])
      const tell: ImageProgress = (message) => {
        for (const listener of listeners) listener(message)
      }
      const done = ensureNow(host, image, tell, fence, fetch)
      underWay.set(key, { done, listeners })
      try {
        const id = await done
        options.onPresent?.(host, image.imageDigest)
        return id
      } finally {
        underWay.delete(key)
      }
    },
  }
}

async function ensureNow(
  host: ReplicaHost,
  image: WantedImage,
  tell: ImageProgress,
  fence: Fence,
  fetch: (host: ReplicaHost, image: WantedImage, tell: ImageProgress, fence: Fence) => Promise<string>,
): Promise<string> {
  const { repository } = splitRepository(image.imageRepository)
  const present = await host.runtime.inspectImage(localImageName(repository, image.imageDigest))
  if (present === null) return fetch(host, image, tell, fence)
  refuseOtherArchitecture(present, host)
  return present.id
}

/**
 * Whether the worker may do better than the node. A registry on loopback is another one, or none, on a node that is
 * another machine or network namespace, so there nearly every failure is the node's own.
 */
function mayBeFed(error: EngineError, registry: string): boolean {
  if (isEngineError(error, 'RegistryUnreachable', 'PullStalled')) return true
  const onLoopback = /^(localhost|127\.[0-9.]+|\[::1\])(:\d+)?$/.test(registry)
  return onLoopback && isEngineError(error, 'PullFailed', 'ImageNotFound', 'RegistryAuthRequired')
}

function refuseOtherArchitecture(image: ImageState, host: ReplicaHost): void {
  if (host.architecture === null || image.architecture === host.architecture) return
  throw new EngineError(
    'ArchitectureMismatch',
    `the image is built for ${image.architecture}, the node is ${host.architecture}`,
  )
}

/** `127.0.0.1:5050/acme/app` is repository `acme/app` at registry `127.0.0.1:5050`. */
export function splitRepository(imageRepository: string): { registry: string; repository: string } {
  const slash = imageRepository.indexOf('/')
  return { registry: imageRepository.slice(0, slash), repository: imageRepository.slice(slash + 1) }
}

const progressEveryMs = 1_000

/** Says once a second how much has come, all layers together. */
function throttledProgress(repository: string, tell: ImageProgress): (progress: PullProgress) => void {
  const layers = new Map<string, PullProgress>()
  let toldAt = performance.now()
  return (progress) => {
    if (progress.status !== 'Downloading') return
    layers.set(progress.layer, progress)
    if (performance.now() - toldAt < progressEveryMs) return
    toldAt = performance.now()
    const sum = (field: 'doneBytes' | 'totalBytes') =>
      ([...layers.values()].reduce((total, layer) => total + layer[field], 0) / 1024 ** 2).toFixed(1)
    tell(`pulling ${repository}: ${sum('doneBytes')} of ${sum('totalBytes')} MiB`)
  }
}
