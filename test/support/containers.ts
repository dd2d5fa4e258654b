import { callHttp } from '../../infra/src/http-call.ts'
import type { EngineConnection } from './engines.ts'

export type FoundContainer = { Id: string; Names: string[]; State: string; Labels: Record<string, string> }

/** What an engine really holds of an installation, asked of the engine itself, running or not. */
export async function listContainers(
  engine: EngineConnection,
  installation: string,
): Promise<FoundContainer[]> {
  return await ask<FoundContainer[]>(engine, '/containers/json', { all: true }, installation)
}

export async function listNetworks(
  engine: EngineConnection,
  installation: string,
): Promise<{ Name: string }[]> {
  return await ask<{ Name: string }[]>(engine, '/networks', {}, installation)
}

async function ask<Body>(
  engine: EngineConnection,
  path: string,
  query: Record<string, unknown>,
  installation: string,
): Promise<Body> {
  const filters = encodeURIComponent(JSON.stringify({ label: [`berth.installation=${installation}`] }))
  const all = query['all'] === true ? 'all=true&' : ''
  const answer = await callHttp({
    target: { socketPath: engine.socketPath },
    method: 'GET',
    path: `${path}?${all}filters=${filters}`,
    timeoutMs: 20_000,
  })
  return JSON.parse(answer.body) as Body
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
