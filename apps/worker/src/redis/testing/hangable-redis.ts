import { once } from 'node:events'
import { connect, createServer, type Socket } from 'node:net'

/** A way to a Redis on a unix socket that can hang: connections stay open and nothing gets through. */
export type HangableRedis = { url: string; hang(): void; resume(): void; close(): Promise<void> }

/** `path` is where its own socket is made. */
export async function hangableRedis(redisPath: string, path: string): Promise<HangableRedis> {
  const sockets = new Set<Socket>()
  let hangs = false
  const server = createServer((near) => {
    const far = connect(redisPath)
    for (const [socket, other] of [
      [near, far],
      [far, near],
    ] as const) {
      sockets.add(socket)
      socket.on('error', () => undefined)
      socket.on('data', (data) => other.write(data))
      if (hangs) socket.pause()
      socket.on('close', () => {
        sockets.delete(socket)
        other.destroy()
      })
    }
  })
  server.listen(path)
  await once(server, 'listening')
  return {
    url: path,
    hang() {
      hangs = true
      for (const socket of sockets) socket.pause()
    },
    resume() {
      hangs = false
      for (const socket of sockets) socket.resume()
    },
    async close() {
      for (const socket of sockets) socket.destroy()
      await new Promise((resolve) => server.close(resolve))
    },
  }
}
