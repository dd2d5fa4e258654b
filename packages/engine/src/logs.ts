import type { IncomingMessage } from 'node:http'
import type { LogLine, LogRequest } from './container-runtime.ts'
import type { EngineConnection, EngineStream } from './engine-connection.ts'
import { connectionFailure } from './engine-failure.ts'
import { readLogLines } from './log-frames.ts'

/** Lines of standard output and error, oldest first. Ends quietly when the caller's signal aborts. */
export async function* logs(
  engine: EngineConnection,
  id: string,
  request: LogRequest,
): AsyncGenerator<LogLine> {
  const what = `read the log of container ${id.slice(0, 12)}`
  const stream = await openLog(engine, id, what, request)
  if (stream === undefined) return
  try {
    yield* readLogLines(stream.body as IncomingMessage & AsyncIterable<Buffer>)
  } catch (error) {
    if (stream.deadline.reason !== 'aborted')
      throw connectionFailure({ what, mutates: false }, error, stream.deadline)
  } finally {
    stream.body.destroy()
    stream.deadline[Symbol.dispose]()
  }
}

async function openLog(
  engine: EngineConnection,
  id: string,
  what: string,
  request: LogRequest,
): Promise<EngineStream | undefined> {
  const query: Record<string, string | number> = { stdout: 1, stderr: 1, timestamps: 1 }
  if (request.follow) query.follow = 1
  if (request.sinceMs !== undefined) query.since = engineTime(request.sinceMs)
  if (request.untilMs !== undefined) query.until = engineTime(request.untilMs)
  if (request.tail !== undefined) query.tail = request.tail
  try {
    return await engine.readStream({
      what,
      method: 'GET',
      path: `/containers/${encodeURIComponent(id)}/logs`,
      query,
      limitMs: engine.limits.readMs,
      endless: request.follow ?? false,
      ...(request.signal === undefined ? {} : { signal: request.signal }),
    })
  } catch (error) {
    if (request.signal?.aborted) return undefined
    throw error
  }
}

/** Milliseconds since 1970 as the engine takes them: `seconds.nanoseconds`. */
export function engineTime(ms: number): string {
  const seconds = Math.floor(ms / 1000)
  const nanos = Math.floor((ms - seconds * 1000) * 1_000_000)
  return `${seconds}.${String(nanos).padStart(9, '0')}`
}
