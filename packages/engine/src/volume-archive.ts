import { pipeline, type Readable } from 'node:stream'
import type { Fence, VolumeHelper } from './container-runtime.ts'
import type { EngineConnection } from './engine-connection.ts'
import { EngineError, isEngineError } from './engine-error.ts'
import { createHelper, helperPath, removeHelper, requireVolume, withHelper } from './volume-helper.ts'
import { headBytes, setTop, topOf } from './volume-top.ts'
import { Watched } from './watched.ts'

/*
 * The engine gives and takes the content of a container as a tar, volumes included, also of one that was never
 * started. It unpacks within the root of the helper: names and links that lead out of the volume are refused, and
 * what follows a link that the tar itself brought ends in the helper's own layer, which goes with it.
 */

/**
 * The content of a volume as a tar, names beginning with `./`. Fails with an `EngineError` (`NotFound` when there is
 * no such volume of the installation); the stream fails when the connection breaks, when no byte is taken for 60 s
 * or when the signal aborts. The helper goes with the stream, however that ends.
 */
export async function readVolume(
  engine: EngineConnection,
  name: string,
  helper: VolumeHelper,
  fence: Fence,
  signal?: AbortSignal,
): Promise<Readable> {
  await requireVolume(engine, name, helper.labels)
  const id = await createHelper(engine, name, helper, fence)
  const what = `read volume "${name}"`
  try {
    const { body, deadline } = await engine.readStream({
      what,
      method: 'GET',
      path: `/containers/${id}/archive`,
      query: { path: `${helperPath}/.` },
      limitMs: engine.limits.stallMs,
      ...(signal === undefined ? {} : { signal }),
    })
    return pipeline(body, new Watched(() => deadline.touch()), () => {
      deadline[Symbol.dispose]()
      void removeHelper(engine, id, fence)
    })
  } catch (error) {
    await removeHelper(engine, id, fence)
    throw error
  }
}

/**
 * Unpacks a tar, plain or compressed, over the content of a volume: what it names is replaced, the rest stays. Fails
 * with an `EngineError`: `NotFound` when there is no such volume of the installation, `ArchiveInvalid` when the engine
 * cannot or will not unpack it, `EngineTimeout` when no byte moves for 60 s, `Aborted` when the signal aborts or `tar`
 * breaks off. What came before a failure is in the volume.
 */
export async function writeVolume(
  engine: EngineConnection,
  name: string,
  helper: VolumeHelper,
  tar: Readable,
  fence: Fence,
  signal?: AbortSignal,
): Promise<void> {
  await requireVolume(engine, name, helper.labels)
  await withHelper(engine, name, helper, fence, (id) => unpack(engine, name, id, tar, fence, signal))
}

async function unpack(
  engine: EngineConnection,
  name: string,
  id: string,
  tar: Readable,
  fence: Fence,
  signal: AbortSignal | undefined,
): Promise<void> {
  const what = `write volume "${name}"`
  let broken: unknown
  let touch = () => {}
  let head = Buffer.alloc(0)
  const onBytes = (chunk: Buffer) => {
    if (head.length < headBytes) head = Buffer.concat([head, chunk.subarray(0, headBytes)])
    touch()
  }
  // Left as it is after a refusal: whoever sends the tar can still be answered.
  const upload = pipeline(tar, new Watched(onBytes), (error) => {
    broken = error
  })
  try {
    await engine.mutate(fence, {
      what,
      method: 'PUT',
      path: `/containers/${id}/archive`,
      query: { path: helperPath },
      upload,
      limitMs: engine.limits.stallMs,
      onDeadline: (deadline) => (touch = () => deadline.touch()),
      ...(signal === undefined ? {} : { signal }),
    })
  } catch (error) {
    if (broken !== undefined && broken !== null)
      throw new EngineError('Aborted', `${what}: the tar broke off`, { outcome: 'unknown', cause: broken })
    throw refusalOf(error)
  }
  const top = await topOf(head)
  if (top !== undefined) await setTop(engine, name, id, top, fence)
}

/** What engines say of a tar that they cannot unpack, or of an entry that leads out of the volume. */
const invalidArchive =
  /processing tar|archive\/tar|unexpected EOF|is outside of|invalid (symlink|hardlink)|invalid header|gzip:/i

function refusalOf(error: unknown): unknown {
  if (!isEngineError(error, 'EngineFailure', 'InvalidSpec') || !invalidArchive.test(error.message))
    return error
  return new EngineError('ArchiveInvalid', error.message)
}
