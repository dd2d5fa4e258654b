import type { AppSpec, Labels, SandboxSpec, VolumeMount } from './container-runtime.ts'
import { berthLabels } from './labels.ts'

/*
 * The closed schema of what Berth starts: nothing of Docker's create options is passed through. The values
 * are those of the security baseline (CIS Docker benchmark, chapter 5).
 */

/** What an ordinary image that starts as root needs to drop its rights, own its files and bind port 80. */
const rootCapabilities = ['CHOWN', 'DAC_OVERRIDE', 'FOWNER', 'SETUID', 'SETGID', 'KILL', 'NET_BIND_SERVICE']

const appPidsLimit = 512
const sandboxPidsLimit = 64
/** `runc init` passes through the limit when something is started or run inside, so less fails at random. */
const sandboxMemoryBytes = 32 * 1024 * 1024
const sandboxUser = '65532:65532'

type HostConfig = {
  NetworkMode: string
  PortBindings?: Record<string, { HostIp: string; HostPort: string }[]>
  ReadonlyRootfs?: boolean
  CapDrop: string[]
  CapAdd: string[]
  SecurityOpt: string[]
  Memory: number
  MemorySwap: number
  NanoCpus?: number
  PidsLimit: number
  Init: boolean
  RestartPolicy: { Name: 'no' }
  CgroupnsMode: 'private'
  IpcMode: 'private'
  LogConfig: { Type: 'json-file'; Config: Record<string, string> }
  Mounts?: VolumeMountBody[]
}

/** Named volumes only: nothing of the host's own is ever mounted. */
type VolumeMountBody = { Type: 'volume'; Source: string; Target: string; ReadOnly?: boolean }

/** Body of `POST /containers/create`. */
export type CreateBody = {
  Image: string
  Labels: Record<string, string>
  Env?: string[]
  Entrypoint?: string[]
  Cmd?: string[]
  WorkingDir?: string
  User?: string
  StopSignal?: string
  ExposedPorts?: Record<string, object>
  Healthcheck: { Test: ['NONE'] }
  HostConfig: HostConfig
}

const common = {
  CapDrop: ['ALL'],
  SecurityOpt: ['no-new-privileges:true'],
  RestartPolicy: { Name: 'no' },
  CgroupnsMode: 'private',
  IpcMode: 'private',
  LogConfig: { Type: 'json-file', Config: { 'max-size': '10m', 'max-file': '3' } },
} as const

function commonHostConfig() {
  return { ...common, CapDrop: [...common.CapDrop], SecurityOpt: [...common.SecurityOpt] }
}

/** Holds the network and the published port; needs no init since nothing but `sleep` and short reads run in it. */
export function sandboxBody(spec: SandboxSpec): CreateBody {
  const port = `${spec.containerPort}/tcp`
  return {
    Image: spec.image,
    Labels: { ...spec.labels },
    User: sandboxUser,
    // The first process of a namespace ignores SIGTERM unless it handles it; there is nothing to save here.
    StopSignal: 'SIGKILL',
    ExposedPorts: { [port]: {} },
    Healthcheck: { Test: ['NONE'] },
    HostConfig: {
      ...commonHostConfig(),
      NetworkMode: spec.network,
      PortBindings: { [port]: [{ HostIp: spec.hostAddress, HostPort: String(spec.hostPort) }] },
      ReadonlyRootfs: true,
      CapAdd: [],
      Memory: sandboxMemoryBytes,
      MemorySwap: sandboxMemoryBytes,
      PidsLimit: sandboxPidsLimit,
      Init: false,
    },
  }
}

/**
 * The app, joined to its sandbox. `imageUser` is the image's own USER and decides about capabilities. `nodeCpus`
 * bounds the CPU limit, since an engine refuses more cores than it has.
 */
export function appBody(spec: AppSpec, imageUser: string, nodeCpus: number): CreateBody {
  return {
    Image: spec.image,
    Labels: { ...spec.labels },
    Env: environmentList(spec),
    ...(spec.command.length > 0 ? { Entrypoint: [...spec.command] } : {}),
    ...(spec.args.length > 0 ? { Cmd: [...spec.args] } : {}),
    ...(spec.workdir === undefined ? {} : { WorkingDir: spec.workdir }),
    Healthcheck: { Test: ['NONE'] },
    HostConfig: {
      ...commonHostConfig(),
      NetworkMode: `container:${spec.sandboxId}`,
      CapAdd: runsAsRoot(imageUser) ? [...rootCapabilities] : [],
      Memory: spec.memoryBytes,
      MemorySwap: spec.memoryBytes,
      NanoCpus: Math.min(spec.cpuMillis, nodeCpus * 1000) * 1_000_000,
      PidsLimit: spec.pidsLimit ?? appPidsLimit,
      Init: true,
      ...(spec.volumes === undefined ? {} : { Mounts: spec.volumes.map(mountBody) }),
    },
  }
}

/**
 * The engine reads and writes the volume through it, started or not. With a `command` it runs that as root, with leave
 * to look into every folder and to change none.
 */
export function volumeHelperBody(spec: {
  image: string
  labels: Labels
  mount: VolumeMount
  command?: readonly string[]
}): CreateBody {
  const { image, labels, mount, command } = spec
  return {
    Image: image,
    Labels: { ...labels, [berthLabels.role]: 'volume-helper' },
    ...(command === undefined ? {} : { Entrypoint: [...command], User: '0:0' }),
    Healthcheck: { Test: ['NONE'] },
    HostConfig: {
      ...commonHostConfig(),
      NetworkMode: 'none',
      ...(command === undefined ? {} : { ReadonlyRootfs: true }),
      CapAdd: command === undefined ? [] : ['DAC_READ_SEARCH'],
      Memory: sandboxMemoryBytes,
      MemorySwap: sandboxMemoryBytes,
      PidsLimit: sandboxPidsLimit,
      Init: false,
      Mounts: [{ ...mountBody(mount), ...(command === undefined ? {} : { ReadOnly: true }) }],
    },
  }
}

function mountBody({ name, mountPath }: VolumeMount): VolumeMountBody {
  return { Type: 'volume', Source: name, Target: mountPath }
}

/** `KEY=value` in the order of the keys, so that two equal environments look equal. */
function environmentList(spec: Pick<AppSpec, 'env'>): string[] {
  return Object.entries(spec.env)
    .map(([name, value]) => `${name}=${value}`)
    .sort()
}

/** Whether a USER of an image is root: absent, uid 0 in any spelling, or `root`, with or without a group. */
export function runsAsRoot(user: string): boolean {
  const name = user.split(':', 1)[0] ?? ''
  return name === '' || name === 'root' || /^[+-]?0+$/.test(name)
}
