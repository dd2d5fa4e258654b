import { once } from 'node:events'
import { createServer, type Socket } from 'node:net'

/** An app of a benchmark on 127.0.0.1, all of it in this process. */
export type App = { port: number; close(): void }

/** Asked for `path` with a complete body; `answer` sends the whole answer, head included. */
export type OnRequest = (path: string, answer: (bytes: Uint8Array) => void) => void

/** The whole answer with `length` bytes of body. */
export function okWith(length: number): Buffer {
  const head = `HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: ${length}\r\n\r\n`
  return Buffer.concat([Buffer.from(head), Buffer.alloc(length, 'x')])
}

/**
 * The cheapest HTTP/1.1 server there is, so that it is never what is waited for. Proxies are peaceful: one request at
 * a time on a connection, its length told, no request refused.
 */
export async function startApp(onRequest: OnRequest): Promise<App> {
  return listen((socket) => {
    let head = ''
    let path = ''
    let bodyLeft = 0
    socket.on('data', (chunk) => {
      if (bodyLeft > 0) bodyLeft -= chunk.length
      else {
        head += chunk.toString('latin1')
        const end = head.indexOf('\r\n\r\n')
        if (end < 0) return
        path = head.slice(head.indexOf(' ') + 1, head.indexOf(' HTTP/'))
        bodyLeft = lengthOfBody(head) - (head.length - end - 4)
        head = ''
      }
      if (bodyLeft <= 0) onRequest(path, (bytes) => socket.write(bytes))
    })
  })
}

function lengthOfBody(head: string): number {
  return head.startsWith('GET ') ? 0 : Number(/\r\ncontent-length: *(\d+)/i.exec(head)?.[1] ?? 0)
}

/** A server of bytes on a free port of 127.0.0.1. */
export async function listen(onConnection: (socket: Socket) => void): Promise<App> {
  const sockets = new Set<Socket>()
  const server = createServer({ noDelay: true }, (socket) => {
    sockets.add(socket)
    socket.on('error', () => socket.destroy())
    socket.once('close', () => sockets.delete(socket))
    onConnection(socket)
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const address = server.address()
  return {
    port: address !== null && typeof address === 'object' ? address.port : 0,
    close() {
      server.close()
      for (const socket of sockets) socket.destroy()
    },
  }
}
