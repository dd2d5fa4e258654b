import { connect } from 'node:net'
import { type App, listen } from '../load/app.ts'
import { host } from '../proxies/proxy.ts'
import { inRounds, type Part, withProxies } from './bench.ts'
import { costOf, costTable } from './cost.ts'

/*
 * What a WebSocket message costs a proxy: 64 clients each send one of 64 bytes, and the next when the app has sent it
 * back. Two messages pass the proxy per echo. Clients and app write their frames themselves, with a mask of zeros, to
 * be cheaper than any proxy.
 */

const connections = 64
const concurrency = 80
const warmUpSeconds = 2
const payload = Buffer.alloc(64, 'x')
const finalText = 0x81
const masked = 0x80
const fromClient = Buffer.concat([Buffer.from([finalText, masked | payload.length, 0, 0, 0, 0]), payload])
const fromApp = Buffer.concat([Buffer.from([finalText, payload.length]), payload])

const offer = [
  'GET / HTTP/1.1',
  `Host: ${host}`,
  'Connection: Upgrade',
  'Upgrade: websocket',
  'Sec-WebSocket-Version: 13',
  // The example of RFC 6455, 1.3, and its answer.
  'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==',
  '\r\n',
].join('\r\n')
const acceptance = [
  'HTTP/1.1 101 Switching Protocols',
  'Connection: Upgrade',
  'Upgrade: websocket',
  'Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=',
  '\r\n',
].join('\r\n')

export const webSocketEcho: Part = {
  title: `WebSocket echo of ${payload.length} bytes, ${connections} connections`,
  async run(bench) {
    const app = await startEcho()
    const needs = 'websocket'
    try {
      return await withProxies(bench, { replicaPorts: [app.port], concurrency, needs }, async (proxies) => {
        for (const { port } of proxies) await echoes(port, warmUpSeconds)
        const measured = await inRounds(bench.rounds, proxies, (proxy) =>
          costOf(proxy, () => echoes(proxy.port, bench.seconds)),
        )
        return costTable(measured, 'echo')
      })
    } finally {
      app.close()
    }
  },
}

function startEcho(): Promise<App> {
  return listen((socket) => {
    let open = false
    let received = 0
    socket.on('data', (chunk) => {
      if (!open) {
        // Nobody sends a frame before the handshake is answered, so this is its head.
        open = chunk.toString('latin1').endsWith('\r\n\r\n')
        if (open) socket.write(acceptance)
        return
      }
      received += chunk.length
      for (; received >= fromClient.length; received -= fromClient.length) socket.write(fromApp)
    })
  })
}

/** Keeps all connections busy for `seconds` and counts the echoes. */
async function echoes(port: number, seconds: number): Promise<{ count: number; seconds: number }> {
  const until = performance.now() + seconds * 1000
  const counts = await Promise.all(Array.from({ length: connections }, () => echoesOfOne(port, until)))
  return { count: counts.reduce((sum, count) => sum + count, 0), seconds }
}

function echoesOfOne(port: number, until: number): Promise<number> {
  return new Promise((resolve, reject) => {
    const socket = connect({ port, host: '127.0.0.1', noDelay: true }, () => socket.write(offer))
    let head = ''
    let open = false
    let received = 0
    let count = 0
    socket.on('error', reject)
    socket.once('close', () => reject(new Error(`a WebSocket was closed: ${head}`)))
    socket.on('data', (chunk) => {
      if (!open) {
        head += chunk.toString('latin1')
        open = head.startsWith('HTTP/1.1 101 ') && head.endsWith('\r\n\r\n')
        if (open) socket.write(fromClient)
        return
      }
      received += chunk.length
      if (received < fromApp.length) return
      received = 0
      count += 1
      if (performance.now() < until) return void socket.write(fromClient)
      socket.removeAllListeners('close')
      socket.destroy()
      resolve(count)
    })
  })
}
