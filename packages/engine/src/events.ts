import type { IncomingMessage } from 'node:http'
import type { EngineEvent } from './container-runtime.ts'
import { eventAnswer, readAnswer } from './engine-answers.ts'
import type { EngineConnection, EngineStream } from './engine-connection.ts'
import { connectionFailure } from './engine-failure.ts'
import { engineTime } from './logs.ts'
import { readNdjson } from './ndjson.ts'

const what = 'follow the events'
const kinds = ['container', 'network', 'image', 'daemon'] as const

/** What the engine tells from `sinceMs` on. Ends when the signal aborts; fails when the connection breaks. */
export async function* events(
  engine: EngineConnection,
  sinceMs: number,
  signal: AbortSignal,
): AsyncGenerator<EngineEvent> {
  const stream = await openEvents(engine, sinceMs, signal)
  if (stream === undefined) return
  try {
    for await (const value of readNdjson(stream.body as IncomingMessage & AsyncIterable<Buffer>)) {
      const event = readAnswer(eventAnswer, value, what)
      yield {
        at: event.timeNano === undefined ? event.time * 1000 : Math.floor(event.timeNano / 1_000_000),
        type: kinds.find((kind) => kind === event.Type) ?? 'other',
        action: event.Action,
        id: event.Actor.ID,
        labels: event.Actor.Attributes ?? {},
      }
    }
  } catch (error) {
    if (!signal.aborted) throw connectionFailure({ what, mutates: false }, error, stream.deadline)
  } finally {
    stream.body.destroy()
    stream.deadline[Symbol.dispose]()
  }
}

async function openEvents(
  engine: EngineConnection,
  sinceMs: number,
  signal: AbortSignal,
): Promise<EngineStream | undefined> {
  const query = { since: engineTime(sinceMs), filters: JSON.stringify({ type: [...kinds] }) }
  const limits = { limitMs: engine.limits.readMs, endless: true }
  try {
    return await engine.readStream({ what, method: 'GET', path: '/events', query, ...limits, signal })
  } catch (error) {
    if (signal.aborted) return undefined
    throw error
  }
}
