import type { Readable } from 'node:stream'
import type { LinkedPath } from './linked-path.ts'
import type { Listener } from './listeners.ts'

/*
 * The port to one Docker Engine, in our words. Every call has a deadline and fails with an `EngineError`; every
 * mutation takes a fence, which is checked synchronously immediately before the request goes out.
 * All calls are idempotent: what is so already is success.
 */

/** Throws `LeaseLostError` when the holder may no longer act. Must not wait. */
export type Fence = { check(): void }

export type Tls = { ca: string; cert: string; key: string }

export type EngineEndpoint =
  | { kind: 'unix'; path: string }
  | { kind: 'tcp'; host: string; port: number; tls?: Tls }

export type EngineVersion = { apiVersion: string; engineVersion: string }

/** `architecture` is normalised to OCI's words (amd64, arm64); `machineId` is empty where the engine has none. */
export type EngineInfo = EngineVersion & {
  engineId: string
  name: string
  architecture: string
  os: string
  cpus: number
  memoryBytes: number
  machineId: string
  liveRestore: boolean
}

export type Labels = Readonly<Record<string, string>>

/** A named volume of one node. */
export type VolumeSpec = { name: string; labels: Labels }

export type NetworkSpec = { name: string; subnet: string; labels: Labels }
export type NetworkState = { id: string; name: string; subnet: string; labels: Labels }

/** The container that holds a replica's network and published port. `image` is what `ensureSandboxImage` gave. */
export type SandboxSpec = {
  name: string
  network: string
  hostAddress: string
  hostPort: number
  containerPort: number
  image: string
  labels: Labels
}

/**
 * An app container joined to a sandbox. `image` is an image id or a local name as `pull` and `loadImage` return
 * it. Empty `command` and `args` leave those of the image. `cpuMillis` are thousandths of a core.
 */
export type AppSpec = {
  name: string
  sandboxId: string
  image: string
  command: readonly string[]
  args: readonly string[]
  env: Readonly<Record<string, string>>
  workdir?: string
  memoryBytes: number
  cpuMillis: number
  pidsLimit?: number
  /** Volumes of the engine by name; one that is not there is made by the engine, empty. */
  volumes?: readonly VolumeMount[]
  /** Its start stops short of the app's first instruction, until `release`. */
  held?: true
  labels: Labels
}

/**
 * For the container through which a volume is read and written. `image` is what `ensureSandboxImage` gave; `labels`
 * are at least the installation's, whose volumes alone are touched.
 */
export type VolumeHelper = { image: string; labels: Labels }

export type VolumeMount = { name: string; mountPath: string }

export const containerStatuses = [
  'created',
  'running',
  'paused',
  'restarting',
  'removing',
  'exited',
  'dead',
] as const
export type ContainerStatus = (typeof containerStatuses)[number]

/** Times are milliseconds since 1970, null when it has not happened. `pid` is 0 unless it runs. */
export type ContainerState = {
  id: string
  name: string
  state: ContainerStatus
  exitCode: number
  oomKilled: boolean
  error: string
  startedAt: number | null
  finishedAt: number | null
  createdAt: number
  labels: Labels
  /** Id of the image. */
  image: string
  pid: number
  /** Whether it was made to be held: its next start waits for `release`, unless `setHold` has changed that. */
  holds: boolean
}

/** A line of `list`: as much as the engine tells without an inspect of each. */
export type ContainerSummary = {
  id: string
  name: string
  state: ContainerStatus
  createdAt: number
  labels: Labels
  image: string
  /** Its own address on its network; null while it has none, and for an app, which has its sandbox's. */
  address: string | null
}

export type ImageState = {
  id: string
  architecture: string
  os: string
  user: string
  exposedPorts: number[]
  entrypoint: string[]
  command: string[]
  /** `KEY=value`. */
  env: string[]
  /** Folders for each of which a container gets a volume without a name. */
  volumes: string[]
  workdir: string
  sizeBytes: number
  repoTags: string[]
  repoDigests: string[]
}

/** A line of `listImages`. `tags` and `digests` are all the names that the engine has for it. */
export type ImageSummary = { id: string; tags: string[]; digests: string[] }

/** Of a file system, in bytes: what can be used in all, and what of it is free. */
export type DiskSpace = { totalBytes: number; freeBytes: number }

export type RegistryAuth = { username: string; password: string } | { identityToken: string }

export type PullProgress = { layer: string; status: string; doneBytes: number; totalBytes: number }

/** `registryAddress` is how this node reaches the registry: `127.0.0.1:5050`, `docker.io`. */
export type PullRequest = {
  registryAddress: string
  repository: string
  digest: string
  auth?: RegistryAuth
  /** Ends with `ArchitectureMismatch` when the image is for another one. */
  architecture?: string
  onProgress?: (progress: PullProgress) => void
  signal?: AbortSignal
}

export type BuildRequest = { tar: Readable | Buffer; tag: string; labels?: Labels; signal?: AbortSignal }

/** `sinceMs` and `untilMs` are milliseconds since 1970; `tail` a number of lines from the end of the whole log. */
export type LogRequest = {
  follow?: boolean
  sinceMs?: number
  untilMs?: number
  tail?: number
  signal?: AbortSignal
}

/** `at` is milliseconds since 1970. A line over 64 KiB is cut there and marked. */
export type LogLine = { at: number; stream: 'stdout' | 'stderr'; line: string; truncated: boolean }

/** One sample. CPU time is cumulative: the difference of two samples over their distance is the usage. */
export type ContainerUsage = { at: number; cpuNanos: number; memoryBytes: number; pids: number }

/** A hint that something changed: read the object again. `at` is milliseconds since 1970. */
export type EngineEvent = {
  at: number
  type: 'container' | 'network' | 'image' | 'daemon' | 'other'
  action: string
  id: string
  labels: Labels
}

export type ContainerRuntime = {
  readonly endpoint: EngineEndpoint

  /** 2 s. `EngineTooOld` below API 1.41. */
  ping(): Promise<EngineVersion>
  info(): Promise<EngineInfo>

  /** A bridge network with exactly this subnet. `NameConflictError` when the name has another. */
  ensureNetwork(spec: NetworkSpec, fence: Fence): Promise<string>
  /** `Conflict` while containers are joined to it. */
  removeNetwork(name: string, fence: Fence): Promise<void>
  listNetworks(installation: string): Promise<NetworkState[]>

  /** `NameConflictError` when the name is another installation's. */
  ensureVolume(spec: VolumeSpec, fence: Fence): Promise<void>
  volumeExists(name: string): Promise<boolean>
  /** `Conflict` while a container has it. Success when it is gone. */
  removeVolume(name: string, fence: Fence): Promise<void>
  /** Containers that mount it, running or not. */
  volumeUsers(name: string): Promise<ContainerSummary[]>
  /** The first part of an absolute path that is a symbolic link in the container; undefined when none is. */
  linkedPath(id: string, path: string): Promise<LinkedPath | undefined>
  /** Lets every user of a container write to it. `image` is what `ensureSandboxImage` gave. */
  openVolume(spec: VolumeSpec, image: string, fence: Fence): Promise<void>
  /** Its content as a tar. `NotFound` when it is gone or another installation's. 60 s without a byte end it. */
  readVolume(name: string, helper: VolumeHelper, fence: Fence, signal?: AbortSignal): Promise<Readable>
  /**
   * Unpacks a tar over its content. `NotFound` as above, `ArchiveInvalid` for what is no tar or leads out of the volume,
   * `Aborted` when the tar breaks off; what came before stays. 60 s without a byte end it.
   */
  writeVolume(
    name: string,
    helper: VolumeHelper,
    tar: Readable,
    fence: Fence,
    signal?: AbortSignal,
  ): Promise<void>
  /** Bytes that its content takes on the disk. `NotFound` as above, `EngineTimeout` when counting takes over 60 s. */
  measureVolume(name: string, helper: VolumeHelper, fence: Fence, signal?: AbortSignal): Promise<number>

  /** The container's id. A container of that name is adopted when it is what was asked for. */
  createSandbox(spec: SandboxSpec, fence: Fence): Promise<string>
  /**
   * The container's id. A container of that name is adopted when it is what was asked for; one that was made to be held
   * is, and its hold lifted, unless `held` is asked for.
   */
  createApp(spec: AppSpec, fence: Fence): Promise<string>
  /** Lets a held app begin; nothing happens to one that runs. `Conflict` when its container does not run. */
  release(id: string, fence: Fence): Promise<void>
  /** Whether the next starts of a container that was made to be held stop short of the app, or are as any other. */
  setHold(id: string, how: 'waiting' | 'passing', fence: Fence): Promise<void>
  /** Whether an app in this sandbox waits for `release`, as the sandbox's busybox sees it. */
  isHeld(sandboxId: string): Promise<boolean>
  startContainer(id: string, fence: Fence): Promise<void>
  pause(id: string, fence: Fence): Promise<void>
  unpause(id: string, fence: Fence): Promise<void>
  /** SIGTERM, after `graceSeconds` SIGKILL. A paused container is unpaused first. Success when it is gone. */
  stop(id: string, graceSeconds: number, fence: Fence): Promise<void>
  kill(id: string, fence: Fence): Promise<void>
  /** With its anonymous volumes, running or not. Success when it is gone, also when somebody else removes it. */
  remove(id: string, fence: Fence): Promise<void>
  rename(id: string, name: string, fence: Fence): Promise<void>

  inspect(nameOrId: string): Promise<ContainerState | null>
  /** Containers that carry `berth.installation=<installation>`, stopped ones too. 5 s. */
  list(filter: { installation: string }): Promise<ContainerSummary[]>
  /** The sandbox's own address on its network, null while it has none. */
  networkAddressOf(sandboxId: string): Promise<string | null>
  /** The file system that holds the engine's containers, as the sandbox's busybox sees it below its root. */
  readDisk(sandboxId: string): Promise<DiskSpace>
  /** What listens inside the replica's network namespace, read there by the sandbox's busybox. */
  readListeners(sandboxId: string): Promise<Listener[]>
  /** Ends when the container ends (with `follow`), when the signal aborts, or when the loop is left. */
  logs(id: string, request?: LogRequest): AsyncIterable<LogLine>
  usage(id: string): Promise<ContainerUsage>
  /** Ends when the connection ends: reopen with the last `at`, then list and compare. */
  events(sinceMs: number, signal: AbortSignal): AsyncIterable<EngineEvent>

  inspectImage(reference: string): Promise<ImageState | null>
  /** All that have a name, whoever brought them. 5 s. */
  listImages(): Promise<ImageSummary[]>
  /** Fetches by digest and names the result `localImageName(repository, digest)`. */
  pull(request: PullRequest, fence: Fence): Promise<ImageState>
  /** Feeds a tar as `docker save` or `streamImageTar` write it. What the engine says it has loaded. */
  loadImage(tar: Readable | Buffer, fence: Fence, signal?: AbortSignal): Promise<string[]>
  saveImage(reference: string, signal?: AbortSignal): Promise<Readable>
  tagImage(reference: string, name: string, fence: Fence): Promise<void>
  /** `Conflict` while a container uses it. */
  removeImage(reference: string, fence: Fence): Promise<void>
  /** Builds a context tar with a Dockerfile; nothing is pulled. The id of the image. */
  buildFromTar(request: BuildRequest, fence: Fence): Promise<string>

  /** Ends all connections; calls under way fail. */
  close(): void
}
