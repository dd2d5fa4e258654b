import type { Fence, ImageState, PullProgress, PullRequest, RegistryAuth } from './container-runtime.ts'
import type { EngineConnection, EngineStream } from './engine-connection.ts'
import { EngineError, isEngineError } from './engine-error.ts'
import { errorOf, inspectImage, type ProgressLine, progressLines, removeImage, tagImage } from './images.ts'
import { localImageName } from './local-image-name.ts'
import { pullFailure } from './pull-failure.ts'

/**
 * Pulls by digest, checks what came, and gives it the name that does not depend on the registry's address. An image
 * for another processor is pulled by engines with a warning only, so it is compared here and taken away again.
 */
export async function pull(
  engine: EngineConnection,
  request: PullRequest,
  fence: Fence,
): Promise<ImageState> {
  const name = localImageName(request.repository, request.digest)
  const present = await inspectImage(engine, name)
  if (present !== null) return await checked(engine, present, name, request, fence)

  const image = `${request.registryAddress}/${request.repository}@${request.digest}`
  const stream = await openPull(engine, image, request, fence)
  await follow(engine, image, request, stream)
  const pulled = await inspectImage(engine, image)
  if (pulled === null)
    throw new EngineError('PullFailed', `pull ${image}: the engine reports success and has no such image`)
  await checked(engine, pulled, image, request, fence)
  await tagImage(engine, image, name, fence)
  return { ...pulled, repoTags: [...pulled.repoTags, name] }
}

/** Reads the progress to its end, which is not the end of success: a line may tell of a failure. */
async function follow(
  engine: EngineConnection,
  image: string,
  request: PullRequest,
  stream: EngineStream,
): Promise<void> {
  try {
    for await (const line of progressLines(`pull ${image}`, stream)) {
      const failure = errorOf(line)
      if (failure !== undefined) throw pullFailure(image, failure)
      const progress = progressOf(line)
      if (progress !== undefined) request.onProgress?.(progress)
    }
  } catch (error) {
    throw isEngineError(error, 'EngineTimeout') ? stalled(engine, image) : error
  }
}

function stalled(engine: EngineConnection, image: string): EngineError {
  const seconds = engine.limits.stallMs / 1000
  return new EngineError('PullStalled', `pull ${image}: no progress for ${seconds} s`, { outcome: 'unknown' })
}

async function openPull(
  engine: EngineConnection,
  image: string,
  request: PullRequest,
  fence: Fence,
): Promise<EngineStream> {
  try {
    return await engine.mutateStream(fence, {
      what: `pull ${image}`,
      method: 'POST',
      path: '/images/create',
      query: { fromImage: `${request.registryAddress}/${request.repository}`, tag: request.digest },
      headers:
        request.auth === undefined
          ? {}
          : { 'X-Registry-Auth': authHeader(request.auth, request.registryAddress) },
      limitMs: engine.limits.stallMs,
      ...(request.signal === undefined ? {} : { signal: request.signal }),
    })
  } catch (error) {
    if (isEngineError(error, 'EngineTimeout')) throw stalled(engine, image)
    if (isEngineError(error, 'NotFound', 'ImageNotFound')) throw pullFailure(image, error.message, 404)
    if (isEngineError(error, 'EngineFailure', 'Conflict', 'InvalidSpec'))
      throw pullFailure(image, error.message)
    throw error
  }
}

async function checked(
  engine: EngineConnection,
  image: ImageState,
  reference: string,
  request: PullRequest,
  fence: Fence,
): Promise<ImageState> {
  if (request.architecture === undefined || image.architecture === request.architecture) return image
  await removeImage(engine, reference, fence).catch(() => undefined)
  throw new EngineError(
    'ArchitectureMismatch',
    `the image is built for ${image.architecture}, the node is ${request.architecture}`,
  )
}

/** Docker's `X-Registry-Auth`: JSON as URL-safe base64. */
function authHeader(auth: RegistryAuth, registryAddress: string): string {
  const fields = 'identityToken' in auth ? { identitytoken: auth.identityToken } : auth
  return Buffer.from(JSON.stringify({ ...fields, serveraddress: registryAddress })).toString('base64url')
}

function progressOf(line: ProgressLine): PullProgress | undefined {
  if (line.status === undefined) return undefined
  return {
    layer: line.id ?? '',
    status: line.status,
    doneBytes: line.progressDetail?.current ?? 0,
    totalBytes: line.progressDetail?.total ?? 0,
  }
}
