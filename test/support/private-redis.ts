import { rm } from 'node:fs/promises'
import { createConnection } from 'node:net'
import { join } from 'node:path'
import { startTestChild, type TestChild } from './child.ts'
import { makeOwnedFolder } from './owned-folder.ts'
import { until } from './poll.ts'

export type PrivateRedis = {
  /** A socket path, which `new Redis(url)` takes as it is. */
  url: string
  child: TestChild
  stop(): Promise<void>
}

/** A Redis of its own on a unix socket, without persistence and with `noeviction`. */
export async function startPrivateRedis(): Promise<PrivateRedis> {
  const folder = await makeOwnedFolder()
  const socket = join(folder, 's')
  const child = startTestChild(
    ['redis-server', '--port', '0', '--unixsocket', socket, '--dir', folder].concat([
      '--save',
      '',
      '--appendonly',
      'no',
      '--maxmemory-policy',
      'noeviction',
    ]),
    { cwd: folder },
  )
  try {
    await until(() => pings(socket), { timeoutMs: 60_000, describe: 'Redis to answer' })
  } catch (error) {
    await child.stop('SIGKILL')
    await rm(folder, { recursive: true, force: true })
    throw new Error(`Redis did not start: ${child.output()}`, { cause: error })
  }
  return {
    url: socket,
    child,
    async stop() {
      await child.stop('SIGTERM')
      await rm(folder, { recursive: true, force: true })
    },
  }
}

function pings(path: string): Promise<boolean> {
  return new Promise((resolve, reject) => {
    const socket = createConnection(path, () => socket.write('PING\r\n'))
    socket.once('data', (data) => {
      resolve(data.toString().startsWith('+PONG'))
      socket.destroy()
    })
    socket.once('error', reject)
    socket.setTimeout(2000, () => socket.destroy(new Error('Redis did not answer in 2 s')))
  })
}
