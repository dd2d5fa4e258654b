import { z } from 'zod'
import { EngineError } from './engine-error.ts'

/*
 * What is read from the engine's answers, and nothing more. An engine is trusted to be Docker but not to be of a
 * known version: what we rely on is checked here.
 */

const labels = z.record(z.string(), z.string()).nullish()
const strings = z.array(z.string()).nullish()
const networks = z.record(z.string(), z.object({ IPAddress: z.string().nullish() })).nullish()
const ports = z.record(z.string(), z.unknown()).nullish()

export const infoAnswer = z.object({
  ID: z.string(),
  Name: z.string(),
  Architecture: z.string(),
  OSType: z.string(),
  OperatingSystem: z.string().optional(),
  KernelVersion: z.string().optional(),
  NCPU: z.number(),
  MemTotal: z.number(),
  ServerVersion: z.string(),
  LiveRestoreEnabled: z.boolean().optional(),
})

export const createdAnswer = z.object({ Id: z.string() })

export const containerAnswer = z.object({
  Id: z.string(),
  Name: z.string(),
  Created: z.string(),
  Image: z.string(),
  State: z.object({
    Status: z.string(),
    Running: z.boolean(),
    Paused: z.boolean(),
    OOMKilled: z.boolean(),
    ExitCode: z.number(),
    Error: z.string(),
    Pid: z.number(),
    StartedAt: z.string(),
    FinishedAt: z.string(),
  }),
  Config: z.object({
    Image: z.string(),
    Labels: labels,
    Env: strings,
    Cmd: strings,
    Entrypoint: strings,
  }),
  HostConfig: z.object({
    NetworkMode: z.string(),
    PortBindings: z
      .record(z.string(), z.array(z.object({ HostIp: z.string(), HostPort: z.string() })).nullable())
      .nullish(),
    Memory: z.number(),
    NanoCpus: z.number(),
    CapAdd: strings,
    PidsLimit: z.number().nullish(),
    Mounts: z.array(z.object({ Source: z.string().optional(), Target: z.string() })).nullish(),
  }),
  NetworkSettings: z.object({ Networks: networks }),
})
export type ContainerAnswer = z.infer<typeof containerAnswer>

export const containerListAnswer = z.array(
  z.object({
    Id: z.string(),
    Names: z.array(z.string()),
    ImageID: z.string(),
    Created: z.number(),
    State: z.string(),
    Labels: labels,
    NetworkSettings: z.object({ Networks: networks }).nullish(),
  }),
)

export const networkListAnswer = z.array(
  z.object({
    Id: z.string(),
    Name: z.string(),
    Labels: labels,
    IPAM: z.object({ Config: z.array(z.object({ Subnet: z.string().optional() })).nullish() }),
  }),
)

export const volumeAnswer = z.object({ Name: z.string(), Labels: labels })
/** Without names these are null, or `<none>:<none>`. */
export const imageListAnswer = z.array(z.object({ Id: z.string(), RepoTags: strings, RepoDigests: strings }))

export const imageAnswer = z.object({
  Id: z.string(),
  Architecture: z.string(),
  Os: z.string(),
  Size: z.number(),
  RepoTags: strings,
  RepoDigests: strings,
  Config: z
    .object({
      User: z.string().optional(),
      ExposedPorts: ports,
      Entrypoint: strings,
      Cmd: strings,
      Env: strings,
      Volumes: z.record(z.string(), z.unknown()).nullish(),
      WorkingDir: z.string().optional(),
    })
    .nullish(),
})

export const execAnswer = z.object({ Id: z.string() })

export const statsAnswer = z.object({
  read: z.string(),
  cpu_stats: z.object({ cpu_usage: z.object({ total_usage: z.number() }) }),
  memory_stats: z.object({
    usage: z.number().optional(),
    stats: z
      .object({ total_inactive_file: z.number().optional(), inactive_file: z.number().optional() })
      .optional(),
  }),
  pids_stats: z.object({ current: z.number().optional() }).optional(),
})

export const eventAnswer = z.object({
  Type: z.string(),
  Action: z.string(),
  Actor: z.object({ ID: z.string(), Attributes: labels }),
  time: z.number(),
  timeNano: z.number().optional(),
})

/** Reads an answer; one of another shape is the engine's failure. */
export function readAnswer<Answer>(schema: z.ZodType<Answer>, body: unknown, what: string): Answer {
  const read = schema.safeParse(body)
  if (read.success) return read.data
  const where = read.error.issues.map((issue) => issue.path.join('.')).join(', ')
  throw new EngineError('EngineFailure', `${what}: the engine's answer is not as expected at ${where}`)
}
