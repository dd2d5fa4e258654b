import type { IncomingMessage } from 'node:http'
import type { DiskSpace } from './container-runtime.ts'
import { execAnswer, readAnswer } from './engine-answers.ts'
import type { EngineConnection } from './engine-connection.ts'
import { EngineError } from './engine-error.ts'
import { connectionFailure } from './engine-failure.ts'
import { type Listener, parseListeners } from './listeners.ts'
import { readFrames } from './log-frames.ts'

const maxOutputBytes = 4 * 1024 * 1024

/** Reads the socket tables inside the sandbox, whose network namespace is the app's too. */
export async function readListeners(engine: EngineConnection, sandboxId: string): Promise<Listener[]> {
  const what = `read the listeners of sandbox ${sandboxId.slice(0, 12)}`
  const text = await execRead(
    engine,
    sandboxId,
    ['/bin/busybox', 'cat', '/proc/net/tcp', '/proc/net/tcp6'],
    what,
  )
  // Without IPv6 the second file is missing and `cat` says so; without the first nothing was read at all.
  if (!text.includes('local_address')) throw new EngineError('EngineFailure', `${what}: nothing was read`)
  return parseListeners(text)
}

/**
 * The sandbox's root lies on the engine's own file system, wherever the engine is. Total is what is used and what is
 * available together: blocks that are kept for root, or for nobody, count as neither.
 */
export async function readDisk(engine: EngineConnection, sandboxId: string): Promise<DiskSpace> {
  const what = `read the disk of sandbox ${sandboxId.slice(0, 12)}`
  const text = await execRead(engine, sandboxId, ['/bin/busybox', 'df', '-P', '-k', '/'], what)
  const disk = parseDisk(text)
  if (disk === undefined) throw new EngineError('EngineFailure', `${what}: nothing was read`)
  return disk
}

/** From POSIX `df -P -k`: file system, blocks, used, available, capacity, where it is mounted. */
export function parseDisk(text: string): DiskSpace | undefined {
  const [, used, available] = /\s(\d+)\s+(\d+)\s+\d+%\s+\/\s*$/.exec(text) ?? []
  if (used === undefined || available === undefined) return undefined
  const freeBytes = Number(available) * 1024
  return { totalBytes: Number(used) * 1024 + freeBytes, freeBytes }
}

/**
 * Runs a command in a container and gives its standard output. Not fenced: it changes nothing that anybody else
 * relies on.
 */
export async function execRead(
  engine: EngineConnection,
  id: string,
  command: readonly string[],
  what: string,
): Promise<string> {
  const created = await engine.read({
    what,
    method: 'POST',
    path: `/containers/${encodeURIComponent(id)}/exec`,
    body: { Cmd: command, AttachStdout: true, AttachStderr: false },
    limitMs: engine.limits.readMs,
  })
  const exec = readAnswer(execAnswer, created.body, what).Id
  const stream = await engine.readStream({
    what,
    method: 'POST',
    path: `/exec/${exec}/start`,
    body: { Detach: false, Tty: false },
    limitMs: engine.limits.readMs,
  })
  try {
    const chunks: Buffer[] = []
    let size = 0
    for await (const frame of readFrames(stream.body as IncomingMessage & AsyncIterable<Buffer>)) {
      chunks.push(frame.payload)
      size += frame.payload.length
      if (size > maxOutputBytes) throw new EngineError('EngineFailure', `${what}: too much output`)
    }
    return Buffer.concat(chunks).toString('latin1')
  } catch (error) {
    throw connectionFailure({ what, mutates: false }, error, stream.deadline)
  } finally {
    stream.body.destroy()
    stream.deadline[Symbol.dispose]()
  }
}
