import type { Fence, Labels, VolumeHelper } from './container-runtime.ts'
import { volumeHelperBody } from './container-spec.ts'
import { remove } from './containers.ts'
import { createdAnswer, readAnswer, volumeAnswer } from './engine-answers.ts'
import type { EngineConnection } from './engine-connection.ts'
import { EngineError } from './engine-error.ts'
import { berthLabels, missingLabels } from './labels.ts'

/** Where a helper mounts the volume that it is made for. */
export const helperPath = '/volume'

/**
 * Runs `work` with a container that mounts the volume: the engine reads and writes volumes only through one. It is
 * removed in any case; what cannot be removed is garbage that carries the installation's label.
 */
export async function withHelper<Result>(
  engine: EngineConnection,
  volume: string,
  helper: VolumeHelper,
  fence: Fence,
  work: (id: string) => Promise<Result>,
): Promise<Result> {
  const id = await createHelper(engine, volume, helper, fence)
  try {
    return await work(id)
  } finally {
    await removeHelper(engine, id, fence)
  }
}

/** The id of a container that was never started. `command` is what it would run, with leave to read every folder. */
export async function createHelper(
  engine: EngineConnection,
  volume: string,
  { image, labels }: VolumeHelper,
  fence: Fence,
  command?: readonly string[],
): Promise<string> {
  const what = `create a helper for volume "${volume}"`
  const mount = { name: volume, mountPath: helperPath }
  const { body } = await engine.mutate(fence, {
    what,
    method: 'POST',
    path: '/containers/create',
    body: volumeHelperBody({ image, labels, mount, ...(command === undefined ? {} : { command }) }),
    limitMs: engine.limits.createMs,
  })
  return readAnswer(createdAnswer, body, what).Id
}

/** Never fails: a failure here would hide how the work ended. */
export async function removeHelper(engine: EngineConnection, id: string, fence: Fence): Promise<void> {
  await remove(engine, id, fence).catch(() => undefined)
}

/**
 * Makes sure that the volume is there and the installation's own: a helper for one that is not there would make it,
 * empty. `NotFound` when it is not.
 */
export async function requireVolume(engine: EngineConnection, name: string, labels: Labels): Promise<void> {
  const what = `inspect volume "${name}"`
  const { status, body } = await engine.read({
    what,
    method: 'GET',
    path: `/volumes/${encodeURIComponent(name)}`,
    limitMs: engine.limits.readMs,
    accept: [404],
  })
  const installation = { [berthLabels.installation]: labels[berthLabels.installation] ?? '' }
  const own =
    status !== 404 &&
    missingLabels(installation, readAnswer(volumeAnswer, body, what).Labels ?? {}).length === 0
  if (!own) throw new EngineError('NotFound', `the node has no volume "${name}"`)
}
