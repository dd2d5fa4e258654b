import { once } from 'node:events'
import { connect, type Socket } from 'node:net'
import { listen } from '../load/app.ts'
import { readSlowly, writeAll } from '../load/slow-reader.ts'
import { host, type RunningProxy } from '../proxies/proxy.ts'
import { residentBytes } from '../proxies/usage.ts'
import { tableLines } from '../table.ts'
import { type Part, withProxies } from './bench.ts'

/*
 * What a large body does to the memory of a proxy when its reader is much slower than its sender: an upload to an app
 * that takes 8 MB/s, and a download to such a client. All proxies carry theirs at the same time, since that leaves
 * them almost idle. Shown is how far memory rose at most above where it was before.
 */

const megabyte = 1024 * 1024
const bytesPerSecond = 8 * megabyte
const sampleMs = 100
const concurrency = 80

export const slowBodies: Part = {
  title: 'A large upload and download whose reader takes 8 MB/s',
  async run(bench) {
    const count = (bench.quick ? 64 : 256) * megabyte
    const app = await listen((socket) => void serve(socket, count).catch(() => socket.destroy()))
    try {
      return await withProxies(bench, { replicaPorts: [app.port], concurrency }, async (proxies) => {
        const up = await rises(proxies, ({ port }) => upload(port, count))
        const down = await rises(proxies, ({ port }) => download(port, count))
        const size = `${count / megabyte} MiB`
        return tableLines(
          ['memory rose at most by', `${size} up`, `${size} down`],
          proxies.map((proxy) => [proxy.name, mib(up.get(proxy)), mib(down.get(proxy))]),
        )
      })
    } finally {
      app.close()
    }
  },
}

/** Does `work` with all proxies at once; resolves with how many bytes the memory of each rose at most. */
async function rises(
  proxies: readonly RunningProxy[],
  work: (proxy: RunningProxy) => Promise<void>,
): Promise<Map<RunningProxy, number>> {
  const before = new Map(proxies.map((proxy) => [proxy, residentBytes(proxy)]))
  const highest = new Map(proxies.map((proxy) => [proxy, 0]))
  const sampling = setInterval(() => {
    for (const [proxy, start] of before)
      highest.set(proxy, Math.max(highest.get(proxy) ?? 0, residentBytes(proxy) - start))
  }, sampleMs)
  try {
    await Promise.all(
      proxies.map((proxy) =>
        work(proxy).catch((error: unknown) => {
          throw new Error(`${proxy.name} did not carry its body`, { cause: error })
        }),
      ),
    )
    return highest
  } finally {
    clearInterval(sampling)
  }
}

/**
 * The app: a GET is answered with a body as fast as it is taken, a POST is read slowly and then answered. One request
 * per connection.
 */
async function serve(socket: Socket, count: number): Promise<void> {
  const answer = (length: number) =>
    socket.write(`HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: ${length}\r\n\r\n`)
  const request = await readHead(socket)
  if (request.startsWith('POST ')) {
    await readSlowly(socket, bytesPerSecond, count)
    answer(0)
    socket.end()
  } else {
    answer(count)
    writeAll(socket, count)
  }
}

async function upload(port: number, count: number): Promise<void> {
  const socket = await connected(port)
  socket.write(`POST / HTTP/1.1\r\nHost: ${host}\r\nContent-Length: ${count}\r\n\r\n`)
  writeAll(socket, count)
  await expectOk(socket)
  socket.destroy()
}

async function download(port: number, count: number): Promise<void> {
  const socket = await connected(port)
  socket.write(`GET / HTTP/1.1\r\nHost: ${host}\r\n\r\n`)
  await expectOk(socket)
  await readSlowly(socket, bytesPerSecond, count)
  socket.destroy()
}

async function connected(port: number): Promise<Socket> {
  const socket = connect(port, '127.0.0.1')
  socket.on('error', () => socket.destroy())
  await once(socket, 'connect')
  return socket
}

async function expectOk(socket: Socket): Promise<void> {
  const answer = await readHead(socket)
  if (!answer.startsWith('HTTP/1.1 200 ')) throw new Error(`answered ${answer}`)
}

/** Reads up to the empty line; what comes after it is left in the socket. */
function readHead(socket: Socket): Promise<string> {
  return new Promise((resolve, reject) => {
    let bytes = Buffer.alloc(0)
    const closed = () => reject(new Error('closed before an answer'))
    socket.once('close', closed)
    socket.on('data', function read(chunk: Buffer) {
      bytes = Buffer.concat([bytes, chunk])
      const end = bytes.indexOf('\r\n\r\n')
      if (end < 0) return
      socket.off('data', read)
      socket.off('close', closed)
      socket.pause()
      if (end + 4 < bytes.length) socket.unshift(bytes.subarray(end + 4))
      resolve(bytes.toString('latin1', 0, end))
    })
  })
}

function mib(bytes: number | undefined): string {
  return bytes === undefined ? '' : `${(bytes / megabyte).toFixed(1)} MiB`
}
