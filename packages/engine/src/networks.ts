import type { Fence, NetworkSpec, NetworkState } from './container-runtime.ts'
import { createdAnswer, networkListAnswer, readAnswer } from './engine-answers.ts'
import type { EngineConnection } from './engine-connection.ts'
import { EngineError, isEngineError, NameConflictError } from './engine-error.ts'
import { missingLabels, ownedBy } from './labels.ts'

/** The id of a bridge network with this name and subnet, made when it is not there. */
export async function ensureNetwork(
  engine: EngineConnection,
  spec: NetworkSpec,
  fence: Fence,
): Promise<string> {
  const before = await findNetwork(engine, spec.name)
  if (before !== null) return adopt(before, spec)
  const what = `create network "${spec.name}"`
  const body = {
    Name: spec.name,
    CheckDuplicate: true,
    Driver: 'bridge',
    IPAM: { Config: [{ Subnet: spec.subnet }] },
    Labels: { ...spec.labels },
  }
  try {
    const answer = await engine.mutate(fence, {
      what,
      method: 'POST',
      path: '/networks/create',
      body,
      limitMs: engine.limits.createMs,
    })
    return readAnswer(createdAnswer, answer.body, what).Id
  } catch (error) {
    // Made by somebody else in between, or made by us with the answer lost.
    const taken = isEngineError(error) && (error.code === 'Conflict' || error.outcome === 'unknown')
    const found = taken ? await findNetwork(engine, spec.name).catch(() => null) : null
    if (found === null) throw error
    return adopt(found, spec)
  }
}

export async function removeNetwork(engine: EngineConnection, name: string, fence: Fence): Promise<void> {
  const what = `remove network "${name}"`
  const path = `/networks/${encodeURIComponent(name)}`
  try {
    await engine.mutate(fence, {
      what,
      method: 'DELETE',
      path,
      limitMs: engine.limits.createMs,
      accept: [404],
    })
  } catch (error) {
    if (!(error instanceof EngineError) || error.outcome !== 'unknown') throw error
    const left = await findNetwork(engine, name).catch(() => undefined)
    if (left !== null) throw error
  }
}

export async function listNetworks(engine: EngineConnection, installation: string): Promise<NetworkState[]> {
  return await query(engine, ownedBy(installation))
}

function adopt(found: NetworkState, wanted: NetworkSpec): string {
  const unlike = missingLabels(wanted.labels, found.labels)
  if (found.subnet !== wanted.subnet) unlike.unshift('subnet')
  if (unlike.length > 0) throw new NameConflictError(wanted.name, unlike)
  return found.id
}

/** Docker's name filter matches parts of names. */
async function findNetwork(engine: EngineConnection, name: string): Promise<NetworkState | null> {
  const matches = await query(engine, JSON.stringify({ name: [name] }))
  return matches.find((network) => network.name === name) ?? null
}

async function query(engine: EngineConnection, filters: string): Promise<NetworkState[]> {
  const what = 'list networks'
  const request = {
    what,
    method: 'GET',
    path: '/networks',
    query: { filters },
    limitMs: engine.limits.readMs,
  } as const
  const { body } = await engine.read(request)
  return readAnswer(networkListAnswer, body, what).map((network) => ({
    id: network.Id,
    name: network.Name,
    subnet: network.IPAM.Config?.[0]?.Subnet ?? '',
    labels: network.Labels ?? {},
  }))
}
