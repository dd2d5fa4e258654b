import { request, type IncomingHttpHeaders } from 'node:http'
import { until } from '../../../../test/support/poll.ts'

export type OpenStream = {
  headers: IncomingHttpHeaders
  /** What has come so far. */
  text: () => string
  waitFor: (piece: string) => Promise<void>
  /** When the server has ended the answer. */
  ended: Promise<void>
  /** Goes away as a client does. */
  leave: () => void
}

/** A GET whose answer stays open. */
export function openStream(
  port: number,
  path: string,
  token: string,
  accept = 'text/event-stream',
): Promise<OpenStream> {
  return new Promise((resolve, reject) => {
    const headers = { authorization: `Bearer ${token}`, accept }
    const outgoing = request({ host: '127.0.0.1', port, path, agent: false, headers })
    outgoing.on('error', reject)
    outgoing.once('response', (response) => {
      let text = ''
      response.on('data', (chunk: Buffer) => (text += chunk.toString()))
      response.on('error', () => {})
      const ended = new Promise<void>((done) => {
        response.once('end', done)
      })
      resolve({
        headers: response.headers,
        text: () => text,
        async waitFor(piece) {
          await until(() => text.includes(piece), { describe: `"${piece}" in the stream` })
        },
        ended,
        leave: () => outgoing.destroy(),
      })
    })
    outgoing.end()
  })
}
