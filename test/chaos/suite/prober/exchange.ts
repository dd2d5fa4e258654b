import { type Agent, type IncomingMessage, request } from 'node:http'
import type { Target } from './target.ts'

export type Ask = {
  path: string
  /** `false` opens a connection of its own. */
  agent: Agent | false
  method?: 'GET' | 'POST'
  body?: Buffer
  timeoutMs: number
}

/**
 * One request to the probed service, read to the end of its answer. Rejects with a sentence when the connection
 * breaks, the time is over or the status is not 200: nothing is tried again here.
 */
export function exchange(target: Target, ask: Ask): Promise<string> {
  return new Promise((resolve, reject) => {
    const outgoing = request({
      host: '127.0.0.1',
      port: target.port,
      agent: ask.agent,
      method: ask.method ?? 'GET',
      path: ask.path,
      headers: {
        host: target.host,
        ...(ask.body === undefined ? {} : { 'content-length': ask.body.length }),
      },
      signal: AbortSignal.timeout(ask.timeoutMs),
    })
    const broken = (error: NodeJS.ErrnoException) =>
      reject(
        new Error(
          error.name === 'TimeoutError' || error.name === 'AbortError'
            ? `no answer in ${ask.timeoutMs} ms`
            : `${error.code ?? error.message}${outgoing.reusedSocket ? ' on a reused connection' : ''}`,
        ),
      )
    outgoing.once('error', broken)
    outgoing.once('response', (incoming) => {
      incoming.once('error', broken)
      readText(incoming, (text) => {
        if (incoming.statusCode === 200) resolve(text)
        else reject(new Error(`${incoming.statusCode} ${text.slice(0, 200)}`))
      })
    })
    outgoing.end(ask.body)
  })
}

function readText(incoming: IncomingMessage, done: (text: string) => void): void {
  const chunks: Buffer[] = []
  incoming.on('data', (chunk: Buffer) => chunks.push(chunk))
  incoming.once('end', () => done(Buffer.concat(chunks).toString()))
}
