import { once } from 'node:events'
import { rm } from 'node:fs/promises'
import { connect, createServer, type Server, type Socket } from 'node:net'
import { join } from 'node:path'

/** A way to a Postgres on a unix socket that can be cut and mended, as if the server had gone and come back. */
export type CuttableDatabase = { url: string; cut(): Promise<void>; mend(): Promise<void> }

const socketName = '.s.PGSQL.5432'

/** `folder` is where its own socket is made. */
export async function cuttableDatabase(databaseUrl: string, folder: string): Promise<CuttableDatabase> {
  const url = new URL(databaseUrl)
  const behind = join(url.searchParams.get('host') ?? '', `.s.PGSQL.${url.port || '5432'}`)
  const path = join(folder, socketName)
  const sockets = new Set<Socket>()
  let server: Server | undefined

  async function mend(): Promise<void> {
    await rm(path, { force: true })
    server = createServer((near) => {
      const far = connect(behind)
      for (const [socket, other] of [
        [near, far],
        [far, near],
      ] as const) {
        sockets.add(socket)
        socket.on('error', () => undefined)
        socket.on('close', () => {
          sockets.delete(socket)
          other.destroy()
        })
        socket.pipe(other)
      }
    })
    server.listen(path)
    await once(server, 'listening')
  }

  async function cut(): Promise<void> {
    const closing = server
    server = undefined
    for (const socket of sockets) socket.destroy()
    if (closing) await new Promise((resolve) => closing.close(resolve))
  }

  await mend()
  url.searchParams.set('host', folder)
  url.port = ''
  return { url: url.toString(), cut, mend }
}
