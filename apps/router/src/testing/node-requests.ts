import { createServer } from 'node:http'
import { duplexPair } from 'node:stream'

export type ReadRequest = { method: string; target: string; body: string }

/**
 * What a reader made of the bytes of a connection: the requests of which it got the whole, and how it stands behind
 * them: it waits for more, or has ended the connection, of its own or since it understood something no more.
 */
export type ReadRequests = { requests: ReadRequest[]; end: 'waits' | 'ended' }

/** What Node's own HTTP server makes of them, as strict as it gets. It answers everything with 204. */
export async function nodeReadsRequests(bytes: string): Promise<ReadRequests> {
  const read: ReadRequests = { requests: [], end: 'waits' }
  const [client, connection] = duplexPair()
  const server = createServer({ httpValidation: 'strict' }, (request, response) => {
    const { method = '', url = '' } = request
    let body = ''
    request.on('data', (chunk: Buffer) => {
      body += chunk.toString('latin1')
    })
    request.once('end', () => {
      read.requests.push({ method, target: url, body })
      response.writeHead(204).end()
    })
    request.on('error', () => undefined)
  })
  // Not destroyed at once: what it has read before is on its way to us.
  server.on('clientError', () => {
    read.end = 'ended'
  })
  connection.once('close', () => {
    read.end = 'ended'
  })
  connection.on('error', () => undefined)
  client.on('error', () => undefined)
  client.once('end', () => {
    read.end = 'ended'
  })
  client.resume()
  server.emit('connection', connection)
  // Byte by byte: behind a request for another protocol Node drops what came in the same piece.
  for (const byte of Buffer.from(bytes, 'latin1')) client.write(Buffer.from([byte]))
  while (client.writableLength > 0 && !connection.destroyed) await turns(1)
  await turns(6)
  const { requests, end } = read
  connection.destroy()
  server.close()
  return { requests: [...requests], end }
}

async function turns(count: number): Promise<void> {
  for (let i = 0; i < count; i += 1)
    await new Promise((resolve) => {
      setImmediate(resolve)
    })
}
