import { setTimeout as delay } from 'node:timers/promises'
import type {
  AppSpec,
  ContainerState,
  ContainerSummary,
  Fence,
  ImageState,
  SandboxSpec,
} from './container-runtime.ts'
import { appBody, type CreateBody, sandboxBody } from './container-spec.ts'
import { containerState, containerSummary, differences, holds, networkAddress } from './container-state.ts'
import {
  type ContainerAnswer,
  containerAnswer,
  containerListAnswer,
  createdAnswer,
  readAnswer,
} from './engine-answers.ts'
import type { EngineConnection, EngineRequest } from './engine-connection.ts'
import { EngineError, isEngineError, NameConflictError } from './engine-error.ts'
import { heldBody, putHoldProgram } from './held-start/held-start.ts'
import { ownedBy } from './labels.ts'

const removalPollMs = 50

/** What the node tells about images and itself, needed to build an app's container. */
export type NodeFacts = { image(reference: string): Promise<ImageState>; cpus(): Promise<number> }

export async function createSandbox(
  engine: EngineConnection,
  spec: SandboxSpec,
  fence: Fence,
): Promise<string> {
  return (await create(engine, spec.name, () => sandboxBody(spec), [], fence)).id
}

export async function createApp(
  engine: EngineConnection,
  facts: NodeFacts,
  spec: AppSpec,
  fence: Fence,
): Promise<string> {
  const [image, cpus] = await Promise.all([facts.image(spec.image), facts.cpus()])
  const plain = appBody(spec, image.user, cpus)
  const bodyOf = (isHeld: boolean) => (isHeld ? heldBody(plain, spec, image) : plain)
  const wanted = (found?: ContainerAnswer) => bodyOf(spec.held ?? (found !== undefined && holds(found)))
  const { id, found } = await create(engine, spec.name, wanted, Object.values(spec.env), fence)
  if (spec.held) await putHoldProgram(engine, id, 'waiting', fence)
  else if (found !== undefined && holds(found)) await putHoldProgram(engine, id, 'passing', fence)
  return id
}

/** Creates, or adopts a container of that name that is what is wanted in the place of what was found. */
async function create(
  engine: EngineConnection,
  name: string,
  wanted: (found?: ContainerAnswer) => CreateBody,
  secrets: readonly string[],
  fence: Fence,
): Promise<{ id: string; found?: ContainerAnswer }> {
  const what = `create container "${name}"`
  const request = {
    what,
    method: 'POST',
    path: '/containers/create',
    query: { name },
    body: wanted(),
    secrets,
  } as const
  try {
    const answer = await engine.mutate(fence, { ...request, limitMs: engine.limits.createMs, accept: [409] })
    if (answer.status !== 409) return { id: readAnswer(createdAnswer, answer.body, what).Id }
  } catch (error) {
    const found = isUnknown(error) ? await lookFor(engine, name) : null
    if (found === null) throw error
    return adopt(name, found, wanted(found))
  }
  const found = await inspectAnswer(engine, name)
  // The name was taken a moment ago and is free now: the caller looks again and decides anew.
  if (found === null) throw new EngineError('Conflict', `${what}: the name was just given up`)
  return adopt(name, found, wanted(found))
}

function adopt(name: string, found: ContainerAnswer, wanted: CreateBody) {
  const unlike = differences(found, wanted)
  if (unlike.length > 0) throw new NameConflictError(name, unlike)
  return { id: found.Id, found }
}

export async function startContainer(engine: EngineConnection, id: string, fence: Fence): Promise<void> {
  await settle(
    engine,
    id,
    (state) => state?.state === 'running',
    async () => {
      const request = containerRequest(`start container ${short(id)}`, id, 'start', engine.limits.createMs)
      await engine.mutate(fence, { ...request, accept: [304] }).catch((error: unknown) => {
        throw missesItsSandbox(error, id) ? new EngineError('SandboxDead', error.message) : error
      })
    },
  )
}

export async function pause(engine: EngineConnection, id: string, fence: Fence): Promise<void> {
  await settle(
    engine,
    id,
    (state) => state?.state === 'paused',
    async () => {
      await engine.mutate(
        fence,
        containerRequest(`pause container ${short(id)}`, id, 'pause', engine.limits.changeMs),
      )
    },
  )
}

export async function unpause(engine: EngineConnection, id: string, fence: Fence): Promise<void> {
  await settle(
    engine,
    id,
    (state) => state?.state === 'running',
    async () => {
      await engine.mutate(
        fence,
        containerRequest(`unpause container ${short(id)}`, id, 'unpause', engine.limits.changeMs),
      )
    },
  )
}

export async function stop(
  engine: EngineConnection,
  id: string,
  graceSeconds: number,
  fence: Fence,
): Promise<void> {
  const limitMs = graceSeconds * 1000 + engine.limits.stopMarginMs
  const request = containerRequest(`stop container ${short(id)}`, id, 'stop', limitMs)
  await settle(engine, id, hasEnded, async () => {
    await engine.mutate(fence, { ...request, query: { t: graceSeconds }, accept: [304, 404] })
  })
}

export async function kill(engine: EngineConnection, id: string, fence: Fence): Promise<void> {
  await settle(engine, id, hasEnded, async () => {
    const request = containerRequest(`kill container ${short(id)}`, id, 'kill', engine.limits.changeMs)
    await engine.mutate(fence, { ...request, accept: [404] })
  })
}

export async function remove(engine: EngineConnection, id: string, fence: Fence): Promise<void> {
  const what = `remove container ${short(id)}`
  const path = `/containers/${encodeURIComponent(id)}`
  const startedAt = performance.now()
  try {
    const query = { force: 1, v: 1 }
    await engine.mutate(fence, {
      what,
      method: 'DELETE',
      path,
      query,
      limitMs: engine.limits.removeMs,
      accept: [404],
    })
  } catch (error) {
    if (!isUnknown(error) && !(isEngineError(error, 'Conflict') && /already in progress/.test(error.message)))
      throw error
    // Somebody else removes it, or our own call still runs on the engine: wait until it is gone.
    while ((await inspectAnswer(engine, id)) !== null) {
      if (performance.now() - startedAt > engine.limits.removeMs) throw error
      await delay(removalPollMs)
    }
  }
}

export async function rename(
  engine: EngineConnection,
  id: string,
  name: string,
  fence: Fence,
): Promise<void> {
  await settle(
    engine,
    id,
    (state) => state?.name === name,
    async () => {
      const request = containerRequest(`rename container ${short(id)}`, id, 'rename', engine.limits.changeMs)
      await engine.mutate(fence, { ...request, query: { name } })
    },
  ).catch((error: unknown) => {
    if (isEngineError(error, 'Conflict')) throw new NameConflictError(name, ['id'])
    throw error
  })
}

export async function inspect(engine: EngineConnection, nameOrId: string): Promise<ContainerState | null> {
  const answer = await inspectAnswer(engine, nameOrId)
  return answer === null ? null : containerState(answer)
}

export async function networkAddressOf(engine: EngineConnection, id: string): Promise<string | null> {
  const answer = await inspectAnswer(engine, id)
  return networkAddress(answer?.NetworkSettings.Networks)
}

export async function list(engine: EngineConnection, installation: string): Promise<ContainerSummary[]> {
  const what = 'list containers'
  const query = { all: 1, filters: ownedBy(installation) }
  const request = {
    what,
    method: 'GET',
    path: '/containers/json',
    query,
    limitMs: engine.limits.readMs,
  } as const
  const { body } = await engine.read(request)
  return readAnswer(containerListAnswer, body, what).map(containerSummary)
}

/** The container of exactly this name or id. Docker also finds by a part of an id, which is not meant here. */
async function inspectAnswer(engine: EngineConnection, nameOrId: string): Promise<ContainerAnswer | null> {
  const what = `inspect container ${short(nameOrId)}`
  const path = `/containers/${encodeURIComponent(nameOrId)}/json`
  const answer = await engine.read({
    what,
    method: 'GET',
    path,
    limitMs: engine.limits.readMs,
    accept: [404],
  })
  if (answer.status === 404) return null
  const found = readAnswer(containerAnswer, answer.body, what)
  return found.Id === nameOrId || found.Name === `/${nameOrId}` ? found : null
}

/**
 * Runs a mutation and accepts its failure when the container is already as it should be: the engine refuses what
 * is so already in many words, and after a lost answer only looking tells.
 */
async function settle(
  engine: EngineConnection,
  id: string,
  done: (state: ContainerState | null) => boolean,
  act: () => Promise<void>,
): Promise<void> {
  try {
    await act()
  } catch (error) {
    if (!isEngineError(error) || isEngineError(error, 'NotFound', 'SandboxDead', 'PortTaken')) throw error
    if (!isUnknown(error) && !isEngineError(error, 'Conflict', 'EngineFailure', 'InvalidSpec')) throw error
    const state = await lookFor(engine, id)
    if (!done(state === null ? null : containerState(state))) throw error
  }
}

/** A look that must not hide why it was needed: when it fails too, nothing was found. */
async function lookFor(engine: EngineConnection, nameOrId: string): Promise<ContainerAnswer | null> {
  return await inspectAnswer(engine, nameOrId).catch(() => null)
}

function hasEnded(state: ContainerState | null): boolean {
  return state === null || state.state === 'exited' || state.state === 'dead' || state.state === 'created'
}

function containerRequest(what: string, id: string, verb: string, limitMs: number): EngineRequest {
  return { what, method: 'POST', path: `/containers/${encodeURIComponent(id)}/${verb}`, limitMs }
}

/** The engine looks the sandbox up when the app starts, and answers 404 with the sandbox's id when it is gone. */
function missesItsSandbox(error: unknown, id: string): error is EngineError {
  if (!isEngineError(error, 'NotFound')) return false
  const named = /no such container: ([0-9a-f]{12,64})/i.exec(error.message)?.[1]
  return named !== undefined && !id.startsWith(named) && !named.startsWith(id)
}

function isUnknown(error: unknown): boolean {
  return error instanceof EngineError && error.outcome === 'unknown'
}

function short(id: string): string {
  return /^[0-9a-f]{64}$/.test(id) ? id.slice(0, 12) : `"${id}"`
}
