import type { ContainerRuntime, EngineEndpoint, ImageState } from './container-runtime.ts'
import * as containers from './containers.ts'
import { EngineConnection } from './engine-connection.ts'
import { EngineError } from './engine-error.ts'
import type { EngineLimits } from './engine-limits.ts'
import { events } from './events.ts'
import { isHeld, putHoldProgram, release } from './held-start/held-start.ts'
import * as images from './images.ts'
import { logs } from './logs.ts'
import * as networks from './networks.ts'
import { info, usage } from './node-facts.ts'
import { pull } from './pull.ts'
import { linkedPath } from './linked-path.ts'
import { readVolume, writeVolume } from './volume-archive.ts'
import { measureVolume } from './volume-size.ts'
import * as volumes from './volumes.ts'
import { readDisk, readListeners } from './sandbox-reads.ts'

const rememberedImages = 500

/** `limits` are the deadlines that differ from those of `engineLimits`. */
export type EngineOptions = { limits?: Partial<EngineLimits> }

/**
 * The runtime behind one endpoint. Connects with the first call and again by itself; the API version is settled
 * with the first call and with every `ping`.
 */
export function connectEngine(endpoint: EngineEndpoint, options: EngineOptions = {}): ContainerRuntime {
  const engine = new EngineConnection(endpoint, options.limits)
  const facts = nodeFacts(engine)
  return {
    endpoint,
    ping: () => engine.ping(),
    info: () => info(engine),
    ensureNetwork: (spec, fence) => networks.ensureNetwork(engine, spec, fence),
    removeNetwork: (name, fence) => networks.removeNetwork(engine, name, fence),
    listNetworks: (installation) => networks.listNetworks(engine, installation),
    ensureVolume: (spec, fence) => volumes.ensureVolume(engine, spec, fence),
    volumeExists: (name) => volumes.volumeExists(engine, name),
    removeVolume: (name, fence) => volumes.removeVolume(engine, name, fence),
    volumeUsers: (name) => volumes.volumeUsers(engine, name),
    linkedPath: (id, path) => linkedPath(engine, id, path),
    openVolume: (spec, image, fence) => volumes.openVolume(engine, spec, image, fence),
    readVolume: (name, helper, fence, signal) => readVolume(engine, name, helper, fence, signal),
    writeVolume: (name, helper, tar, fence, signal) => writeVolume(engine, name, helper, tar, fence, signal),
    measureVolume: (name, helper, fence, signal) => measureVolume(engine, name, helper, fence, signal),
    createSandbox: (spec, fence) => containers.createSandbox(engine, spec, fence),
    createApp: (spec, fence) => containers.createApp(engine, facts, spec, fence),
    release: (id, fence) => release(engine, id, fence),
    setHold: (id, how, fence) => putHoldProgram(engine, id, how, fence),
    isHeld: (sandboxId) => isHeld(engine, sandboxId),
    startContainer: (id, fence) => containers.startContainer(engine, id, fence),
    pause: (id, fence) => containers.pause(engine, id, fence),
    unpause: (id, fence) => containers.unpause(engine, id, fence),
    stop: (id, graceSeconds, fence) => containers.stop(engine, id, graceSeconds, fence),
    kill: (id, fence) => containers.kill(engine, id, fence),
    remove: (id, fence) => containers.remove(engine, id, fence),
    rename: (id, name, fence) => containers.rename(engine, id, name, fence),
    inspect: (nameOrId) => containers.inspect(engine, nameOrId),
    list: ({ installation }) => containers.list(engine, installation),
    networkAddressOf: (sandboxId) => containers.networkAddressOf(engine, sandboxId),
    readListeners: (sandboxId) => readListeners(engine, sandboxId),
    readDisk: (sandboxId) => readDisk(engine, sandboxId),
    logs: (id, request = {}) => logs(engine, id, request),
    usage: (id) => usage(engine, id),
    events: (sinceMs, signal) => events(engine, sinceMs, signal),
    inspectImage: (reference) => images.inspectImage(engine, reference),
    listImages: () => images.listImages(engine),
    pull: (request, fence) => pull(engine, request, fence),
    loadImage: (tar, fence, signal) => images.loadImage(engine, tar, fence, signal),
    saveImage: (reference, signal) => images.saveImage(engine, reference, signal),
    tagImage: (reference, name, fence) => images.tagImage(engine, reference, name, fence),
    removeImage: (reference, fence) => images.removeImage(engine, reference, fence),
    buildFromTar: (request, fence) => images.buildFromTar(engine, request, fence),
    close: () => engine.close(),
  }
}

/** Images are remembered by id only: a name can come to mean another image. */
function nodeFacts(engine: EngineConnection): containers.NodeFacts {
  const known = new Map<string, ImageState>()
  let cpus: number | undefined
  return {
    async image(reference) {
      const remembered = known.get(reference)
      if (remembered !== undefined) return remembered
      const image = await images.inspectImage(engine, reference)
      if (image === null) throw new EngineError('ImageNotFound', `the node has no image "${reference}"`)
      if (known.size >= rememberedImages) known.clear()
      if (reference === image.id) known.set(image.id, image)
      return image
    },
    async cpus() {
      cpus ??= (await info(engine)).cpus
      return cpus
    },
  }
}
