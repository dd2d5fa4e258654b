import { once } from 'node:events'
import { connect, createServer, type Socket } from 'node:net'
import { join } from 'node:path'

/** A way to a Postgres on a unix socket on which the answer to a COMMIT can get lost. */
export type CommitLoser = {
  url: string
  /** The next COMMIT reaches the server and is done; before it is acknowledged the connection breaks. */
  loseNext(): void
  lost(): number
  close(): Promise<void>
}

/** `folder` is where its own socket is made. */
export async function commitLoser(databaseUrl: string, folder: string): Promise<CommitLoser> {
  const url = new URL(databaseUrl)
  const behind = join(url.searchParams.get('host') ?? '', `.s.PGSQL.${url.port || '5432'}`)
  const sockets = new Set<Socket>()
  let losing = false
  let lost = 0

  const server = createServer((near) => {
    const far = connect(behind)
    let committing = false
    for (const socket of [near, far]) {
      sockets.add(socket)
      socket.on('error', () => undefined)
      socket.on('close', () => {
        sockets.delete(socket)
        near.destroy()
        far.destroy()
      })
    }
    near.on('data', (chunk: Buffer) => {
      if (losing && chunk.includes('commit\0')) {
        losing = false
        committing = true
      }
      far.write(chunk)
    })
    far.on('data', (chunk: Buffer) => {
      if (!committing) return void near.write(chunk)
      lost += 1
      near.destroy()
    })
  })
  server.listen(join(folder, '.s.PGSQL.5432'))
  await once(server, 'listening')
  url.searchParams.set('host', folder)
  url.port = ''
  return {
    url: url.toString(),
    loseNext: () => (losing = true),
    lost: () => lost,
    async close() {
      for (const socket of sockets) socket.destroy()
      await new Promise((resolve) => server.close(resolve))
    },
  }
}
