import { callHttp } from '../../infra/src/http-call.ts'
import type { EngineConnection } from './engines.ts'

export type FoundContainer = { Id: string; Names: string[]; State: string; Labels: Record<string, string> }

/** What an engine really holds of an installation, asked of the engine itself, running or not. */
export async function listContainers(
  engine: EngineConnection,
  installation: string,
): Promise<FoundContainer[]> {
  const filters = encodeURIComponent(JSON.stringify({ label: [`berth.installation=${installation}`] }))
  const answer = await callHttp({
    target: { socketPath: engine.socketPath },
    method: 'GET',
    path: `/containers/json?all=true&filters=${filters}`,
    timeoutMs: 20_000,
  })
  return JSON.parse(answer.body) as FoundContainer[]
}

/** Containers of one service on all engines. */
export async function containersOf(
  engines: readonly EngineConnection[],
  installation: string,
  service: string,
): Promise<FoundContainer[]> {
  const lists = await Promise.all(engines.map((engine) => listContainers(engine, installation)))
  return lists.flat().filter((container) => container.Labels['berth.service'] === service)
}

/** Those of `ids` that any engine still holds, running or not. A sandbox that was made ahead names no service. */
export async function containersById(
  engines: readonly EngineConnection[],
  installation: string,
  ids: readonly string[],
): Promise<FoundContainer[]> {
  const lists = await Promise.all(engines.map((engine) => listContainers(engine, installation)))
  return lists.flat().filter((container) => ids.includes(container.Id))
}

/** Names of the volumes of an installation that an engine really holds. */
export async function listVolumes(engine: EngineConnection, installation: string): Promise<string[]> {
  const filters = encodeURIComponent(JSON.stringify({ label: [`berth.installation=${installation}`] }))
  const answer = await callHttp({
    target: { socketPath: engine.socketPath },
    method: 'GET',
    path: `/volumes?filters=${filters}`,
    timeoutMs: 20_000,
  })
  const { Volumes } = JSON.parse(answer.body) as { Volumes: { Name: string }[] | null }
  return (Volumes ?? []).map(({ Name }) => Name)
}
