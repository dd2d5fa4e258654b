import { setTimeout as delay } from 'node:timers/promises'

export type ServerEvent = { id?: string; event?: string; data: string }

/** What is sent, until `signal` ends: the client has gone away or may not read on. */
type Source<Piece> = (signal: AbortSignal) => AsyncIterable<Piece>
/** Asked every 3 s; the answer ends when it says no. */
type StillValid = () => Promise<boolean>

const heartbeatMs = 15_000
const checkEveryMs = 3_000

/** Server-sent events from an iterable; a comment every 15 s keeps the connection open. */
export function eventStream(source: Source<ServerEvent>, stillValid: StillValid): Response {
  const lines = (signal: AbortSignal) => encoded(source(signal))
  return streamAnswer(lines, stillValid, 'text/event-stream; charset=utf-8', ': keep-alive\n\n')
}

/** Plain text that is sent as it comes. */
export function textStream(source: Source<string>, stillValid: StillValid): Response {
  return streamAnswer(source, stillValid, 'text/plain; charset=utf-8', undefined)
}

async function* encoded(events: AsyncIterable<ServerEvent>): AsyncGenerator<string> {
  yield ': open\n\n'
  for await (const { id, event, data } of events) {
    const head = `${id === undefined ? '' : `id: ${id}\n`}${event === undefined ? '' : `event: ${event}\n`}`
    yield `${head}${data
      .split(/\r\n|\r|\n/)
      .map((line) => `data: ${line}\n`)
      .join('')}\n`
  }
}

/** Pulls the next piece only when the client has taken the one before. */
function streamAnswer(
  source: Source<string>,
  stillValid: StillValid,
  contentType: string,
  heartbeat: string | undefined,
): Response {
  const over = new AbortController()
  const pieces = source(over.signal)[Symbol.asyncIterator]()
  const encoder = new TextEncoder()
  let timer: NodeJS.Timeout | undefined
  const stop = () => {
    clearInterval(timer)
    over.abort()
  }
  const giveUp = async () => {
    stop()
    // What fails while the source ends has nobody left to hear of it.
    await Promise.resolve(pieces.return?.()).catch(() => {})
  }
  const body = new ReadableStream<Uint8Array>({
    start(controller) {
      void untilInvalid(stillValid, over.signal).then(() => {
        if (over.signal.aborted) return
        controller.close()
        return giveUp()
      })
      if (heartbeat === undefined) return
      timer = setInterval(() => controller.enqueue(encoder.encode(heartbeat)), heartbeatMs)
      timer.unref()
    },
    async pull(controller) {
      try {
        const next = await pieces.next()
        if (over.signal.aborted) return
        if (next.done !== true) return controller.enqueue(encoder.encode(next.value))
        stop()
        controller.close()
      } catch (error) {
        const wasOver = over.signal.aborted
        stop()
        if (!wasOver) controller.error(error)
      }
    },
    cancel: giveUp,
  })
  return new Response(body, {
    headers: { 'content-type': contentType, 'cache-control': 'no-store', 'x-accel-buffering': 'no' },
  })
}

/** Resolves when the answer may not go on, or is over anyway. */
async function untilInvalid(stillValid: StillValid, over: AbortSignal): Promise<void> {
  while (!over.aborted) {
    await delay(checkEveryMs, undefined, { signal: over, ref: false }).catch(() => {})
    if (!over.aborted && !(await stillValid().catch(() => false))) return
  }
}
