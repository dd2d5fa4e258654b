import { buffer } from 'node:stream/consumers'
import { pack } from 'tar-stream'
import type { AppSpec, Fence, ImageState } from '../container-runtime.ts'
import type { CreateBody } from '../container-spec.ts'
import type { EngineConnection } from '../engine-connection.ts'
import { EngineError, isEngineError } from '../engine-error.ts'
import { execRead } from '../sandbox-reads.ts'
import { holdArchitectures, passingProgram, waitingProgram } from './hold-program.ts'

/*
 * A held start: the container runs already, and a tiny program in it waits in the place of the app, with its
 * environment, user, folder and rights, until SIGCONT lets it become the app. That costs one quick call where a start
 * costs a tenth of a second. The program is put into the container's own layer, so nothing has to be on the node.
 */

/** Where the program lies in the container, and how it is told from any other. */
export const holdPath = '/.berth-hold'
/** As the program announces itself in the network namespace. */
const announcement = '@berth-held'
/** What Docker gives a container whose image and environment name none. */
const defaultPath = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin'

type HeldImage = Pick<ImageState, 'architecture' | 'entrypoint' | 'command' | 'env' | 'volumes'>

/**
 * The body of a container whose app is held: only what it starts is another. `InvalidSpec` when there is no program for
 * the image's processor, when the image has no command, or volumes, which another container would not have.
 */
export function heldBody(body: CreateBody, spec: Pick<AppSpec, 'env'>, image: HeldImage): CreateBody {
  const [program = '', ...args] = commandLine(body, image)
  if (!holdArchitectures.includes(image.architecture))
    throw new EngineError('InvalidSpec', `an app for ${image.architecture} cannot be held`)
  if (program === '' || image.volumes.length > 0 || body.HostConfig.Mounts !== undefined)
    throw new EngineError('InvalidSpec', 'an app without a command or with volumes cannot be held')
  const path = spec.env.PATH ?? variable(image.env, 'PATH') ?? defaultPath
  return { ...body, Entrypoint: [holdPath], Cmd: [...programPaths(program, path), '', program, ...args] }
}

/** As the engine puts it together: an entrypoint of one's own leaves the image's command out. */
function commandLine({ Entrypoint, Cmd }: CreateBody, image: HeldImage): readonly string[] {
  if (Entrypoint !== undefined) return [...Entrypoint, ...(Cmd ?? [])]
  return [...image.entrypoint, ...(Cmd ?? image.command)]
}

/** Where `execvp` looks for a program: a name with a slash is a path, an empty folder is the current one. */
export function programPaths(program: string, path: string): string[] {
  if (program.includes('/')) return [program]
  return path.split(':').map((folder) => (folder === '' ? program : `${folder}/${program}`))
}

function variable(env: readonly string[], name: string): string | undefined {
  return env.find((entry) => entry.startsWith(`${name}=`))?.slice(name.length + 1)
}

/** Puts the program into a container that was made to be held: `waiting` holds its next start, `passing` does not. */
export async function putHoldProgram(
  engine: EngineConnection,
  id: string,
  how: 'waiting' | 'passing',
  fence: Fence,
): Promise<void> {
  const tar = pack()
  const program = how === 'waiting' ? waitingProgram : passingProgram
  tar.entry({ name: holdPath.slice(1), mode: 0o755, mtime: new Date(0) }, program)
  tar.finalize()
  await engine.mutate(fence, {
    what: `put the hold into container ${id.slice(0, 12)}`,
    method: 'PUT',
    path: `/containers/${encodeURIComponent(id)}/archive`,
    query: { path: '/' },
    upload: await buffer(tar),
    limitMs: engine.limits.createMs,
  })
}

/** Lets the app of a held container begin; nothing happens to one that runs. `Conflict` when it does not run. */
export async function release(engine: EngineConnection, id: string, fence: Fence): Promise<void> {
  const request = {
    what: `release container ${id.slice(0, 12)}`,
    method: 'POST',
    path: `/containers/${encodeURIComponent(id)}/kill`,
    query: { signal: 'SIGCONT' },
    limitMs: engine.limits.changeMs,
  } as const
  try {
    await engine.mutate(fence, request)
  } catch (error) {
    if (!isEngineError(error) || error.outcome !== 'unknown') throw error
    // Twice is like once.
    await engine.mutate(fence, request)
  }
}

/** Whether an app waits in this sandbox, so that a release will not be lost. */
export async function isHeld(engine: EngineConnection, sandboxId: string): Promise<boolean> {
  const what = `look for a held app in sandbox ${sandboxId.slice(0, 12)}`
  const sockets = await execRead(engine, sandboxId, ['/bin/busybox', 'cat', '/proc/net/unix'], what)
  return sockets.split('\n').some((line) => line.endsWith(` ${announcement}`))
}
