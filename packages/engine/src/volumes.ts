import type { ContainerSummary, Fence, VolumeSpec } from './container-runtime.ts'
import { containerSummary } from './container-state.ts'
import { containerListAnswer, readAnswer, volumeAnswer } from './engine-answers.ts'
import type { EngineConnection } from './engine-connection.ts'
import { EngineError, NameConflictError } from './engine-error.ts'
import { berthLabels, missingLabels } from './labels.ts'
import { withHelper } from './volume-helper.ts'
import { setTop } from './volume-top.ts'

/** Made by the engine when it is not there. `NameConflictError` when the name belongs to somebody else's. */
export async function ensureVolume(engine: EngineConnection, spec: VolumeSpec, fence: Fence): Promise<void> {
  const what = `create volume "${spec.name}"`
  const { body } = await engine.mutate(fence, {
    what,
    method: 'POST',
    path: '/volumes/create',
    body: { Name: spec.name, Driver: 'local', Labels: { ...spec.labels } },
    limitMs: engine.limits.createMs,
  })
  // One that is there is answered as it is: labels say whose it is.
  const installation = { [berthLabels.installation]: spec.labels[berthLabels.installation] ?? '' }
  const unlike = missingLabels(installation, readAnswer(volumeAnswer, body, what).Labels ?? {})
  if (unlike.length > 0) throw new NameConflictError(spec.name, unlike)
}

export async function volumeExists(engine: EngineConnection, name: string): Promise<boolean> {
  const { status } = await engine.read({
    what: `inspect volume "${name}"`,
    method: 'GET',
    path: `/volumes/${encodeURIComponent(name)}`,
    limitMs: engine.limits.readMs,
    accept: [404],
  })
  return status !== 404
}

/** `Conflict` while a container has it. Success when it is gone. */
export async function removeVolume(engine: EngineConnection, name: string, fence: Fence): Promise<void> {
  try {
    await engine.mutate(fence, {
      what: `remove volume "${name}"`,
      method: 'DELETE',
      path: `/volumes/${encodeURIComponent(name)}`,
      limitMs: engine.limits.removeMs,
      accept: [404],
    })
  } catch (error) {
    const unknown = error instanceof EngineError && error.outcome === 'unknown'
    if (!unknown || (await volumeExists(engine, name).catch(() => true))) throw error
  }
}

/** Containers that mount it, running or not. */
export async function volumeUsers(engine: EngineConnection, name: string): Promise<ContainerSummary[]> {
  const what = `list the containers of volume "${name}"`
  const { body } = await engine.read({
    what,
    method: 'GET',
    path: '/containers/json',
    query: { all: 1, filters: JSON.stringify({ volume: [name] }) },
    limitMs: engine.limits.readMs,
  })
  return readAnswer(containerListAnswer, body, what).map(containerSummary)
}

/**
 * Lets every user write to the top of a volume, as in a fresh folder of Kubernetes: the engine makes it for root alone,
 * and an app that does not run as root could not use it.
 */
export async function openVolume(
  engine: EngineConnection,
  { name, labels }: VolumeSpec,
  image: string,
  fence: Fence,
): Promise<void> {
  await withHelper(engine, name, { image, labels }, fence, (id) =>
    setTop(engine, name, id, { mode: 0o777 }, fence),
  )
}
