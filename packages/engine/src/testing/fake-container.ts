import type { IncomingMessage, ServerResponse } from 'node:http'
import type { CreateBody } from '../container-spec.ts'
import type { ContainerStatus } from '../container-runtime.ts'
import { holdPath } from '../held-start/held-start.ts'

/** How the program of a container behaves once it is started. */
export type FakeAppBehaviour = {
  /** Milliseconds from the start until it listens, `never` for an app that does not. */
  listenAfterMs?: number | 'never'
  /** Answers requests; 200 `ok` when absent. */
  handle?: (request: IncomingMessage, response: ServerResponse, container: FakeContainer) => void
  /** Ends by itself so long after its start. */
  exitAfterMs?: number
  exitCode?: number
  oomKilled?: boolean
  /** SIGTERM does nothing: only SIGKILL after the grace ends it. */
  ignoresSigterm?: boolean
  /** What it prints at its start, on standard output. */
  prints?: readonly string[]
}

/** A container of the fake engine, open to tests. */
export type FakeContainer = {
  id: string
  name: string
  status: ContainerStatus
  exitCode: number
  oomKilled: boolean
  pid: number
  createdAt: Date
  startedAt: Date | null
  finishedAt: Date | null
  body: CreateBody
  imageId: string
  address: string
  log: { at: Date; line: string }[]
  /** The program that holds its app, once that was put into it. */
  hold: 'waiting' | 'passing' | null
  /** It runs, and its app waits to be released. */
  held: boolean
}

export function isUp(container: FakeContainer): boolean {
  return container.status === 'running' || container.status === 'paused'
}

/** Whether it starts the program that holds an app. */
export function startsHold({ body }: FakeContainer): boolean {
  return body.Entrypoint?.[0] === holdPath
}

export function sandboxIdOf(container: FakeContainer): string | undefined {
  const mode = container.body.HostConfig.NetworkMode
  return mode.startsWith('container:') ? mode.slice('container:'.length) : undefined
}

/** What `GET /containers/:id/json` answers, as far as Berth and its tests read it. */
export function inspectAnswer(container: FakeContainer): object {
  const { body, status } = container
  return {
    Id: container.id,
    Name: `/${container.name}`,
    Created: container.createdAt.toISOString(),
    Image: container.imageId,
    State: {
      Status: status,
      Running: isUp(container),
      Paused: status === 'paused',
      OOMKilled: container.oomKilled,
      ExitCode: container.exitCode,
      Error: '',
      Pid: isUp(container) ? container.pid : 0,
      StartedAt: container.startedAt?.toISOString() ?? '0001-01-01T00:00:00Z',
      FinishedAt: container.finishedAt?.toISOString() ?? '0001-01-01T00:00:00Z',
    },
    Config: {
      Image: body.Image,
      Labels: body.Labels,
      Env: body.Env ?? [],
      Cmd: body.Cmd ?? null,
      Entrypoint: body.Entrypoint ?? null,
      User: body.User ?? '',
    },
    HostConfig: { NanoCpus: 0, PortBindings: null, ...body.HostConfig },
    NetworkSettings: networkSettings(container),
  }
}

function networkSettings(container: FakeContainer): object {
  if (sandboxIdOf(container)) return { Networks: {} }
  const { NetworkMode } = container.body.HostConfig
  return { Networks: { [NetworkMode]: { IPAddress: isUp(container) ? container.address : '' } } }
}

/** One entry of `GET /containers/json`. */
export function listEntry(container: FakeContainer): object {
  return {
    Id: container.id,
    Names: [`/${container.name}`],
    Image: container.body.Image,
    ImageID: container.imageId,
    Created: Math.floor(container.createdAt.getTime() / 1000),
    State: container.status,
    Labels: container.body.Labels,
    NetworkSettings: networkSettings(container),
  }
}
