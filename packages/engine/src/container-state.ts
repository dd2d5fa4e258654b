import {
  type ContainerState,
  type ContainerStatus,
  type ContainerSummary,
  containerStatuses,
} from './container-runtime.ts'
import type { CreateBody } from './container-spec.ts'
import type { ContainerAnswer, containerListAnswer } from './engine-answers.ts'
import { holdPath } from './held-start/held-start.ts'
import { missingLabels } from './labels.ts'
import type { z } from 'zod'

/** An inspected container in our words. */
export function containerState(answer: ContainerAnswer): ContainerState {
  const { State } = answer
  return {
    id: answer.Id,
    name: answer.Name.replace(/^\//, ''),
    state: containerStatus(State.Status),
    exitCode: State.ExitCode,
    oomKilled: State.OOMKilled,
    error: State.Error,
    startedAt: timeOf(State.StartedAt),
    finishedAt: timeOf(State.FinishedAt),
    createdAt: timeOf(answer.Created) ?? 0,
    labels: answer.Config.Labels ?? {},
    image: answer.Image,
    pid: State.Pid,
    holds: holds(answer),
  }
}

/** Whether it was made to be held. */
export function holds({ Config }: ContainerAnswer): boolean {
  return Config.Entrypoint?.[0] === holdPath
}

export function containerSummary(entry: z.infer<typeof containerListAnswer>[number]): ContainerSummary {
  return {
    id: entry.Id,
    name: (entry.Names[0] ?? '').replace(/^\//, ''),
    state: containerStatus(entry.State),
    createdAt: entry.Created * 1000,
    labels: entry.Labels ?? {},
    image: entry.ImageID,
    address: networkAddress(entry.NetworkSettings?.Networks),
  }
}

/** A container of ours is in one network, or in that of its sandbox. */
export function networkAddress(networks: ContainerAnswer['NetworkSettings']['Networks']): string | null {
  return Object.values(networks ?? {}).find(({ IPAddress }) => IPAddress)?.IPAddress ?? null
}

/**
 * In what a container of the wanted name is not the one that was asked for, empty when it may be adopted. The image
 * is compared by the text it was created with and by its id, the environment by what we set: an image adds to it.
 */
export function differences(found: ContainerAnswer, wanted: CreateBody): string[] {
  const { Config, HostConfig } = found
  const env = new Set(Config.Env ?? [])
  const checks: [string, boolean][] = [
    ['image', Config.Image === wanted.Image || found.Image === wanted.Image],
    ['command', wanted.Entrypoint === undefined || sameList(Config.Entrypoint, wanted.Entrypoint)],
    ['args', wanted.Cmd === undefined || sameList(Config.Cmd, wanted.Cmd)],
    ['env', (wanted.Env ?? []).every((entry) => env.has(entry))],
    ['network', HostConfig.NetworkMode === wanted.HostConfig.NetworkMode],
    ['ports', samePorts(HostConfig.PortBindings, wanted.HostConfig.PortBindings)],
    ['memory', HostConfig.Memory === wanted.HostConfig.Memory],
    ['volumes', sameMounts(HostConfig.Mounts, wanted.HostConfig.Mounts)],
    ['cpu', HostConfig.NanoCpus === (wanted.HostConfig.NanoCpus ?? 0)],
  ]
  const unlike = checks.filter(([, same]) => !same).map(([name]) => name)
  return [...unlike, ...missingLabels(wanted.Labels, Config.Labels ?? {})]
}

function containerStatus(text: string): ContainerStatus {
  return containerStatuses.find((status) => status === text) ?? 'dead'
}

/** Docker writes year 1 for "never". */
function timeOf(text: string): number | null {
  const at = Date.parse(text)
  return Number.isNaN(at) || at <= 0 ? null : at
}

function sameList(a: readonly string[] | null | undefined, b: readonly string[]): boolean {
  return a?.length === b.length && b.every((entry, at) => a[at] === entry)
}

function samePorts(
  found: ContainerAnswer['HostConfig']['PortBindings'],
  wanted: CreateBody['HostConfig']['PortBindings'],
): boolean {
  const spell = (bindings: typeof found) =>
    Object.entries(bindings ?? {})
      .flatMap(([port, hosts]) => (hosts ?? []).map((host) => `${host.HostIp}:${host.HostPort}>${port}`))
      .sort()
      .join()
  return spell(found) === spell(wanted)
}

function sameMounts(
  found: ContainerAnswer['HostConfig']['Mounts'],
  wanted: CreateBody['HostConfig']['Mounts'],
): boolean {
  const spell = (mounts: typeof found) =>
    (mounts ?? [])
      .map(({ Source, Target }) => `${Source}>${Target}`)
      .sort()
      .join()
  return spell(found) === spell(wanted)
}
