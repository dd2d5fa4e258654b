import type { Fence, VolumeHelper } from './container-runtime.ts'
import { startContainer } from './containers.ts'
import { startDeadline } from './deadline.ts'
import type { EngineConnection } from './engine-connection.ts'
import { EngineError } from './engine-error.ts'
import { logs } from './logs.ts'
import { createHelper, helperPath, removeHelper, requireVolume } from './volume-helper.ts'

/**
 * Bytes that the content of a volume takes on the disk, counted there by the busybox of the sandbox image: engines below
 * API 1.42 tell sizes only together with those of all images and layers, and a tar would read every byte. Fails with an
 * `EngineError`: `NotFound` when there is no such volume of the installation, `EngineTimeout` after 60 s of counting.
 */
export async function measureVolume(
  engine: EngineConnection,
  name: string,
  helper: VolumeHelper,
  fence: Fence,
  signal?: AbortSignal,
): Promise<number> {
  await requireVolume(engine, name, helper.labels)
  const count = ['/bin/busybox', 'du', '-sk', helperPath]
  const id = await createHelper(engine, name, helper, fence, count)
  try {
    await startContainer(engine, id, fence)
    return await readTotal(engine, name, id, signal)
  } finally {
    await removeHelper(engine, id, fence)
  }
}

/** The line `1234\t/volume`, in units of 1024 bytes, once the counting has ended. */
async function readTotal(
  engine: EngineConnection,
  name: string,
  id: string,
  signal: AbortSignal | undefined,
): Promise<number> {
  const what = `measure volume "${name}"`
  using deadline = startDeadline(engine.limits.stallMs, signal)
  let total: number | undefined
  for await (const { stream, line } of logs(engine, id, { follow: true, signal: deadline.signal }))
    if (stream === 'stdout') total = Number(/^(\d+)\t/.exec(line)?.[1] ?? Number.NaN)
  if (deadline.reason === 'timeout') throw new EngineError('EngineTimeout', `${what}: it took too long`)
  if (deadline.reason === 'aborted') throw new EngineError('Aborted', `${what}: aborted`)
  if (total === undefined || Number.isNaN(total))
    throw new EngineError('EngineFailure', `${what}: the helper counted nothing`)
  return total * 1024
}
