import { createHash, randomBytes } from 'node:crypto'
import type { Readable } from 'node:stream'
import type { CreateBody } from '../container-spec.ts'
import { FakeApp } from './fake-app.ts'
import { type FakeAppBehaviour, type FakeContainer, isUp, sandboxIdOf, startsHold } from './fake-container.ts'

export type FakeImage = {
  id: string
  references: Set<string>
  architecture: string
  user: string
  exposedPorts: string[]
  sizeBytes: number
}

export type FakeNetwork = { id: string; name: string; subnet: string; labels: Record<string, string> }

export type FakeEvent = {
  /** Milliseconds since 1970. */
  at: number
  type: string
  action: string
  id: string
  labels: Record<string, string>
}

/** As much takes each volume of a fake engine, in units of 1024 bytes. */
const countedKib = 12

/** Refuses as the engine does: status and message. */
export class Refusal extends Error {
  readonly status: number

  constructor(status: number, message: string) {
    super(message)
    this.status = status
  }
}

/** What a fake engine has in memory. Methods do what the engine's calls of that name do. */
export class FakeEngineState {
  readonly containers = new Map<string, FakeContainer>()
  readonly images = new Map<string, FakeImage>()
  /** What `pull` finds, by `address/repository@digest`. */
  readonly remoteImages = new Map<string, FakeImage>()
  /** What the next pulls do after they have shown progress, each once: fail with a message, or stand still. */
  readonly brokenPulls: ({ message: string } | 'stalls')[] = []
  /** What `df` says; an image that goes gives its bytes back. */
  readonly disk = { totalBytes: 100 * 1024 ** 3, freeBytes: 60 * 1024 ** 3 }
  readonly networks = new Map<string, FakeNetwork>()
  /** Labels of each volume by its name. */
  readonly volumes = new Map<string, Record<string, string>>()
  /** What reading a volume gives, by its name: as it was unpacked last, or as a test wants it. */
  readonly archives = new Map<string, () => Readable>()
  /** Where symbolic links lead, by their paths, in every image; whatever else is asked for is there and is none. */
  readonly links = new Map<string, string>()
  readonly listeners = new Set<(event: FakeEvent) => void>()
  /** Everything that was told so far. */
  readonly events: FakeEvent[] = []
  /** From when on each event stream so far was asked for, in milliseconds since 1970. */
  readonly eventsSince: number[] = []
  readonly #apps = new Map<string, FakeApp>()
  readonly #behaviourOf: (container: FakeContainer) => FakeAppBehaviour
  #addresses = 1
  #pids = 1000

  constructor(behaviourOf: (container: FakeContainer) => FakeAppBehaviour) {
    this.#behaviourOf = behaviourOf
  }

  find(nameOrId: string): FakeContainer {
    const all = [...this.containers.values()]
    // As Docker does: by id, by name, then by the beginning of an id.
    const found =
      this.containers.get(nameOrId) ??
      all.find((each) => each.name === nameOrId) ??
      all.find((each) => each.id.startsWith(nameOrId))
    if (found === undefined) throw new Refusal(404, `No such container: ${nameOrId}`)
    return found
  }

  findImage(reference: string): FakeImage {
    const found =
      this.images.get(reference) ?? [...this.images.values()].find((each) => each.references.has(reference))
    if (found === undefined) throw new Refusal(404, `No such image: ${reference}`)
    return found
  }

  addImage(reference: string, about: Partial<Omit<FakeImage, 'references'>> = {}): FakeImage {
    const image = imageOf(reference, about)
    const known = this.images.get(image.id) ?? image
    known.references.add(reference)
    this.images.set(known.id, known)
    return known
  }

  removeImage(image: FakeImage): void {
    this.images.delete(image.id)
    this.disk.freeBytes += image.sizeBytes
  }

  create(name: string, body: CreateBody): FakeContainer {
    const taken = [...this.containers.values()].find((each) => each.name === name)
    if (taken)
      throw new Refusal(
        409,
        `Conflict. The container name "/${name}" is already in use by container "${taken.id}".`,
      )
    const image = this.findImage(body.Image)
    for (const { Source } of body.HostConfig.Mounts ?? [])
      if (!this.volumes.has(Source)) this.volumes.set(Source, {})
    const container: FakeContainer = {
      id: randomBytes(32).toString('hex'),
      name,
      status: 'created',
      exitCode: 0,
      oomKilled: false,
      pid: (this.#pids += 1),
      createdAt: new Date(),
      startedAt: null,
      finishedAt: null,
      body,
      imageId: image.id,
      address: `198.19.0.${(this.#addresses = (this.#addresses % 250) + 1)}`,
      log: [],
      hold: null,
      held: false,
    }
    this.containers.set(container.id, container)
    this.#tell('create', container)
    return container
  }

  /** False when it runs already. */
  start(container: FakeContainer): boolean {
    if (container.status === 'paused')
      throw new Refusal(409, 'cannot start a paused container, try unpause instead')
    if (container.status === 'running') return false
    this.#refuseDeadSandbox(container)
    this.#refuseTakenPort(container)
    Object.assign(container, { status: 'running', startedAt: new Date(), finishedAt: null, exitCode: 0 })
    container.held = startsHold(container) && container.hold === 'waiting'
    if (sandboxIdOf(container) !== undefined && !container.held) this.#startApp(container)
    this.#tell('start', container)
    if (startsHold(container) && container.hold === null) this.exit(container, { exitCode: 127 })
    // The only program besides apps and sandboxes counts a volume.
    if (container.body.Entrypoint?.includes('du')) {
      container.log.push({ at: new Date(), line: `${countedKib}\t/volume` })
      this.exit(container, { exitCode: 0 })
    }
    return true
  }

  /** SIGCONT: a held app begins, to any other nothing happens. */
  continue(container: FakeContainer): void {
    if (container.held) this.#startApp(container)
    container.held = false
    this.#tell('kill', container)
  }

  pause(container: FakeContainer): void {
    if (container.status === 'paused') throw new Refusal(409, `Container ${container.id} is already paused`)
    if (container.status !== 'running') throw new Refusal(409, `Container ${container.id} is not running`)
    container.status = 'paused'
    this.#tell('pause', container)
  }

  unpause(container: FakeContainer): void {
    if (container.status !== 'paused') throw new Refusal(500, `Container ${container.id} is not paused`)
    container.status = 'running'
    this.#apps.get(container.id)?.unpause()
    this.#tell('unpause', container)
  }

  /** Ends a container as if its program had ended; by default as its behaviour says. */
  exit(container: FakeContainer, how: { exitCode?: number; oomKilled?: boolean } = {}): void {
    if (!isUp(container)) return
    const behaviour = this.#behaviourOf(container)
    container.status = 'exited'
    container.exitCode = how.exitCode ?? behaviour.exitCode ?? 0
    container.oomKilled = how.oomKilled ?? behaviour.oomKilled ?? false
    container.finishedAt = new Date()
    container.held = false
    this.#apps.get(container.id)?.stop()
    this.#apps.delete(container.id)
    // With the sandbox goes the published port, also for an app that still runs.
    for (const app of this.containers.values())
      if (sandboxIdOf(app) === container.id) this.#apps.get(app.id)?.stop()
    this.#tell('die', container)
  }

  ignoresSigterm(container: FakeContainer): boolean {
    return sandboxIdOf(container) !== undefined && (this.#behaviourOf(container).ignoresSigterm ?? false)
  }

  remove(container: FakeContainer): void {
    this.exit(container, { exitCode: 137 })
    this.containers.delete(container.id)
    this.#tell('destroy', container)
  }

  /** Where the sandbox of an app, or the sandbox itself, is published on the node. */
  publishedAt(
    container: FakeContainer,
  ): { address: string; port: number; containerPort: number } | undefined {
    const sandbox = this.containers.get(sandboxIdOf(container) ?? container.id)
    const [published] = Object.entries(sandbox?.body.HostConfig.PortBindings ?? {})
    const binding = published?.[1][0]
    if (published === undefined || binding === undefined) return undefined
    return {
      address: binding.HostIp,
      port: Number(binding.HostPort),
      containerPort: Number.parseInt(published[0], 10),
    }
  }

  /** Ports on which an app in this sandbox listens. */
  listeningPorts(sandbox: FakeContainer): number[] {
    return [...this.containers.values()]
      .filter((each) => sandboxIdOf(each) === sandbox.id && this.#apps.get(each.id)?.listening)
      .map((each) => this.publishedAt(each)?.containerPort ?? 0)
  }

  tellImage(action: string, id: string): void {
    this.#tellAll({ at: Date.now(), type: 'image', action, id, labels: {} })
  }

  stopEverything(): void {
    for (const app of this.#apps.values()) app.stop()
    this.#apps.clear()
  }

  #startApp(container: FakeContainer): void {
    const app = new FakeApp(container, this.#behaviourOf(container))
    this.#apps.set(container.id, app)
    app.start(this.publishedAt(container), () => this.exit(container))
  }

  #refuseDeadSandbox(container: FakeContainer): void {
    const id = sandboxIdOf(container)
    if (id === undefined) return
    if (!isUp(this.find(id))) throw new Refusal(409, `cannot join network of a non running container: ${id}`)
  }

  #refuseTakenPort(container: FakeContainer): void {
    const own = sandboxIdOf(container) === undefined ? this.publishedAt(container) : undefined
    if (own === undefined) return
    for (const other of this.containers.values()) {
      if (other === container || !isUp(other) || sandboxIdOf(other) !== undefined) continue
      const at = this.publishedAt(other)
      if (at?.address === own.address && at.port === own.port)
        throw new Refusal(500, `Bind for ${own.address}:${own.port} failed: port is already allocated`)
    }
  }

  #tell(action: string, container: FakeContainer): void {
    const { id, body } = container
    this.#tellAll({ at: Date.now(), type: 'container', action, id, labels: body.Labels })
  }

  #tellAll(event: FakeEvent): void {
    this.events.push(event)
    for (const listener of this.listeners) listener(event)
  }
}

export function imageOf(reference: string, about: Partial<Omit<FakeImage, 'references'>> = {}): FakeImage {
  return {
    id: about.id ?? `sha256:${createHash('sha256').update(reference).digest('hex')}`,
    references: new Set([reference]),
    architecture: about.architecture ?? 'amd64',
    user: about.user ?? '',
    exposedPorts: about.exposedPorts ?? [],
    sizeBytes: about.sizeBytes ?? 1_000,
  }
}
