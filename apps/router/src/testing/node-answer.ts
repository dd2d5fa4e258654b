import { request } from 'node:http'
import { Duplex } from 'node:stream'
import type { Asked, ReadAnswer } from './read-answer.ts'

/** What Node's own HTTP client makes of the bytes of one answer, after which the connection ends in order. */
export function nodeReadsAnswer(bytes: string, asked: Asked = {}): Promise<ReadAnswer> {
  const read: ReadAnswer = { body: '', end: 'cut off' }
  const connection = new Duplex({ read: () => undefined, write: (_chunk, _encoding, written) => written() })
  return new Promise((resolve) => {
    const outgoing = request({
      createConnection: () => connection,
      method: asked.toHead ? 'HEAD' : 'GET',
      host: 'a',
      httpValidation: 'strict',
      maxHeaderSize: 32 * 1024,
      headers: asked.asksUpgrade ? { connection: 'upgrade', upgrade: 'websocket' } : {},
    })
    outgoing.on('error', (error: NodeJS.ErrnoException) => {
      if (read.end === 'cut off' && error.code?.startsWith('HPE_')) read.end = 'broken'
      resolve(read)
    })
    outgoing.on('upgrade', ({ statusCode = 0, statusMessage = '', rawHeaders }, _socket, rest: Buffer) => {
      const head = { status: statusCode, statusText: statusMessage, headers: rawHeaders }
      resolve(Object.assign(read, head, { end: 'switched', rest: rest.toString('latin1') }))
    })
    outgoing.on('response', (answer) => {
      read.status = answer.statusCode ?? 0
      read.statusText = answer.statusMessage ?? ''
      read.headers = answer.rawHeaders
      answer.on('data', (chunk: Buffer) => {
        read.body += chunk.toString('latin1')
      })
      answer.on('error', () => undefined)
      answer.on('end', () => {
        read.end = 'complete'
        read.trailers = answer.rawTrailers
      })
      answer.on('close', () => resolve(read))
    })
    outgoing.end(() => {
      connection.push(Buffer.from(bytes, 'latin1'))
      connection.push(null)
    })
  })
}
