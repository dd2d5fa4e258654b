import { createServer, type Socket } from 'node:net'

/** One connection as the origin sees it: every byte that came, latin1. */
export type OriginConnection = { readonly socket: Socket; received: string; closed: boolean }

export type RawOrigin = {
  port: number
  connections: OriginConnection[]
  close(): Promise<void>
}

/** A replica that is nothing but a socket: `onBytes` is called whenever bytes have come, and writes what it likes. */
export function startRawOrigin(onBytes: (connection: OriginConnection) => void): Promise<RawOrigin> {
  const connections: OriginConnection[] = []
  const server = createServer({ allowHalfOpen: true }, (socket) => {
    const connection: OriginConnection = { socket, received: '', closed: false }
    connections.push(connection)
    socket.setNoDelay(true)
    socket.on('error', () => undefined)
    socket.on('data', (chunk: Buffer) => {
      connection.received += chunk.toString('latin1')
      onBytes(connection)
    })
    socket.on('end', () => {
      connection.closed = true
      socket.end()
    })
    socket.on('close', () => {
      connection.closed = true
    })
  })
  return new Promise((resolve) => {
    server.listen(0, '127.0.0.1', () => {
      const address = server.address()
      resolve({
        port: address !== null && typeof address === 'object' ? address.port : 0,
        connections,
        close: () =>
          new Promise((closed) => {
            server.close(() => closed())
            for (const { socket } of connections) socket.destroy()
          }),
      })
    })
  })
}

/** Whether the bytes are one whole request, with the body that its head announces. */
export function isWholeRequest(bytes: string): boolean {
  const [head, ...rest] = bytes.split('\r\n\r\n')
  if (head === undefined || rest.length === 0) return false
  const body = rest.join('\r\n\r\n')
  if (/^transfer-encoding: *chunked/im.test(head)) return body.endsWith('0\r\n\r\n')
  return body.length >= Number(/^content-length: *([0-9]+)/im.exec(head)?.[1] ?? 0)
}
