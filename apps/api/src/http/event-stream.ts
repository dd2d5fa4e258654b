export type ServerEvent = { id?: string; event?: string; data: string }

const heartbeatMs = 15_000

/**
 * Server-sent events from an iterable; a comment every 15 s keeps the connection open. `signal` of the source ends
 * when the client goes away.
 */
export function eventStream(source: (signal: AbortSignal) => AsyncIterable<ServerEvent>): Response {
  const lines = (signal: AbortSignal) => encoded(source(signal))
  return streamAnswer(lines, 'text/event-stream; charset=utf-8', ': keep-alive\n\n')
}

/** Plain text that is sent as it comes. */
export function textStream(source: (signal: AbortSignal) => AsyncIterable<string>): Response {
  return streamAnswer(source, 'text/plain; charset=utf-8', undefined)
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
  source: (signal: AbortSignal) => AsyncIterable<string>,
  contentType: string,
  heartbeat: string | undefined,
): Response {
  const gone = new AbortController()
  const pieces = source(gone.signal)[Symbol.asyncIterator]()
  const encoder = new TextEncoder()
  let timer: NodeJS.Timeout | undefined
  const stop = () => {
    clearInterval(timer)
    gone.abort()
  }
  const body = new ReadableStream<Uint8Array>({
    start(controller) {
      if (heartbeat === undefined) return
      timer = setInterval(() => controller.enqueue(encoder.encode(heartbeat)), heartbeatMs)
      timer.unref()
    },
    async pull(controller) {
      try {
        const next = await pieces.next()
        if (next.done !== true) return controller.enqueue(encoder.encode(next.value))
        stop()
        controller.close()
      } catch (error) {
        const wasGone = gone.signal.aborted
        stop()
        if (!wasGone) controller.error(error)
      }
    },
    async cancel() {
      stop()
      await pieces.return?.()
    },
  })
  return new Response(body, {
    headers: { 'content-type': contentType, 'cache-control': 'no-store', 'x-accel-buffering': 'no' },
  })
}
