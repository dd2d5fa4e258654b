import type { IncomingMessage } from 'node:http'
import { pipeline, type Readable } from 'node:stream'
import { z } from 'zod'
import type { BuildRequest, Fence, ImageState, ImageSummary } from './container-runtime.ts'
import { imageAnswer, imageListAnswer, readAnswer } from './engine-answers.ts'
import type { EngineConnection, EngineRequest, EngineStream } from './engine-connection.ts'
import { EngineError } from './engine-error.ts'
import { connectionFailure } from './engine-failure.ts'
import { readNdjson } from './ndjson.ts'
import { Watched } from './watched.ts'

/** One line of a pull, load or build. */
const progressLine = z.object({
  id: z.string().optional(),
  status: z.string().optional(),
  stream: z.string().optional(),
  error: z.string().optional(),
  errorDetail: z.object({ message: z.string().optional() }).optional(),
  progressDetail: z.object({ current: z.number().optional(), total: z.number().optional() }).optional(),
  aux: z.object({ ID: z.string().optional() }).optional(),
})
export type ProgressLine = z.infer<typeof progressLine>

export async function inspectImage(engine: EngineConnection, reference: string): Promise<ImageState | null> {
  const what = `inspect image "${reference}"`
  const path = `/images/${reference}/json`
  const answer = await engine.read({
    what,
    method: 'GET',
    path,
    limitMs: engine.limits.readMs,
    accept: [404],
  })
  if (answer.status === 404) return null
  const image = readAnswer(imageAnswer, answer.body, what)
  return {
    id: image.Id,
    architecture: image.Architecture,
    os: image.Os,
    user: image.Config?.User ?? '',
    exposedPorts: Object.keys(image.Config?.ExposedPorts ?? {})
      .filter((port) => !port.includes('/') || port.endsWith('/tcp'))
      .map((port) => Number.parseInt(port, 10)),
    entrypoint: image.Config?.Entrypoint ?? [],
    command: image.Config?.Cmd ?? [],
    env: image.Config?.Env ?? [],
    volumes: Object.keys(image.Config?.Volumes ?? {}),
    workdir: image.Config?.WorkingDir ?? '',
    sizeBytes: image.Size,
    repoTags: image.RepoTags ?? [],
    repoDigests: image.RepoDigests ?? [],
  }
}

export async function listImages(engine: EngineConnection): Promise<ImageSummary[]> {
  const what = 'list images'
  const { body } = await engine.read({
    what,
    method: 'GET',
    path: '/images/json',
    limitMs: engine.limits.readMs,
  })
  const named = (names: string[] | null | undefined) =>
    (names ?? []).filter((name) => !name.startsWith('<none>'))
  return readAnswer(imageListAnswer, body, what).map(({ Id, RepoTags, RepoDigests }) => ({
    id: Id,
    tags: named(RepoTags),
    digests: named(RepoDigests),
  }))
}

export async function tagImage(
  engine: EngineConnection,
  reference: string,
  name: string,
  fence: Fence,
): Promise<void> {
  const split = name.lastIndexOf(':')
  await engine.mutate(fence, {
    what: `tag image "${reference}"`,
    method: 'POST',
    path: `/images/${reference}/tag`,
    query: { repo: name.slice(0, split), tag: name.slice(split + 1) },
    limitMs: engine.limits.createMs,
  })
}

export async function removeImage(engine: EngineConnection, reference: string, fence: Fence): Promise<void> {
  const what = `remove image "${reference}"`
  const path = `/images/${reference}`
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
    if ((await inspectImage(engine, reference).catch(() => undefined)) !== null) throw error
  }
}

/** The names that the engine says it has loaded; ids where the tar names nothing. */
export async function loadImage(
  engine: EngineConnection,
  tar: Readable | Buffer,
  fence: Fence,
  signal?: AbortSignal,
): Promise<string[]> {
  const loaded: string[] = []
  const request = upload('load image', '/images/load', tar, { quiet: 1 }, engine.limits.stallMs, signal)
  await followUpload(engine, request, fence, (line) => {
    const name = /^Loaded image(?: ID)?: (\S+)/.exec(line.stream ?? '')?.[1]
    if (name !== undefined) loaded.push(name)
  })
  if (loaded.length === 0) throw new EngineError('ImageCorrupt', 'load image: the tar holds no image')
  return loaded
}

/** The tar of an image. The stream fails when the connection breaks or stands still for 60 s. */
export async function saveImage(
  engine: EngineConnection,
  reference: string,
  signal?: AbortSignal,
): Promise<Readable> {
  const { body, deadline } = await engine.readStream({
    what: `save image "${reference}"`,
    method: 'GET',
    path: `/images/${reference}/get`,
    limitMs: engine.limits.stallMs,
    ...(signal === undefined ? {} : { signal }),
  })
  return pipeline(body, new Watched(() => deadline.touch()), () => deadline[Symbol.dispose]())
}

/** Builds with the classic builder, which every engine has. The id of the image. */
export async function buildFromTar(
  engine: EngineConnection,
  build: BuildRequest,
  fence: Fence,
): Promise<string> {
  let id: string | undefined
  const query = { t: build.tag, rm: 1, forcerm: 1, labels: JSON.stringify(build.labels ?? {}) }
  const request = upload(
    `build image "${build.tag}"`,
    '/build',
    build.tar,
    query,
    engine.limits.stallMs,
    build.signal,
  )
  await followUpload(engine, request, fence, (line) => {
    id = line.aux?.ID ?? id
  })
  if (id !== undefined) return id
  throw new EngineError('EngineFailure', `${request.what}: the engine named no image`)
}

/** Lines of a pull, load or build. A cut stream fails; an `error` line is for the caller to judge. */
export async function* progressLines(what: string, stream: EngineStream): AsyncGenerator<ProgressLine> {
  try {
    for await (const value of readNdjson(touching(stream))) yield progressLine.parse(value)
  } catch (error) {
    throw connectionFailure({ what, mutates: true }, error, stream.deadline)
  } finally {
    stream.body.destroy()
    stream.deadline[Symbol.dispose]()
  }
}

export function errorOf(line: ProgressLine): string | undefined {
  return line.errorDetail?.message ?? line.error
}

type Upload = EngineRequest & { progress: { touch: () => void } }

function upload(
  what: string,
  path: string,
  tar: Readable | Buffer,
  query: Record<string, string | number>,
  stallMs: number,
  signal: AbortSignal | undefined,
): Upload {
  const progress = { touch: () => undefined as void }
  // A failing tar destroys the request, and the request's failure is what the caller sees.
  const watched = Buffer.isBuffer(tar)
    ? tar
    : pipeline(tar, new Watched(() => progress.touch()), () => undefined)
  const rest = signal === undefined ? {} : { signal }
  return { what, method: 'POST', path, query, upload: watched, limitMs: stallMs, progress, ...rest }
}

async function followUpload(
  engine: EngineConnection,
  request: Upload,
  fence: Fence,
  onLine: (line: ProgressLine) => void,
): Promise<void> {
  const stream = await engine.mutateStream(fence, {
    ...request,
    onDeadline: (deadline) => (request.progress.touch = () => deadline.touch()),
  })
  for await (const line of progressLines(request.what, stream)) {
    const failure = errorOf(line)
    if (failure !== undefined)
      throw new EngineError(
        /no space left/i.test(failure) ? 'NoSpace' : 'ImageCorrupt',
        `${request.what}: ${failure.slice(0, 400)}`,
      )
    onLine(line)
  }
}

async function* touching({ body, deadline }: EngineStream): AsyncGenerator<Buffer> {
  for await (const chunk of body as IncomingMessage & AsyncIterable<Buffer>) {
    deadline.touch()
    yield chunk
  }
}
