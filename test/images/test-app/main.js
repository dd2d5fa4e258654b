import { rmSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:http'
import { answer, stats } from './routes.js'
import { acceptWebSocket } from './web-socket.js'

/*
 * One image for every kind of app that the tests need, chosen by environment variables:
 *   START_DELAY_MS   listens only after this time
 *   READY_AFTER_MS   /healthz answers 503 until then
 *   LISTEN           "port" (default), "none", "loopback" (127.0.0.1 only), "other" (PORT + 1)
 *   EXIT_AFTER_MS    ends after this time, with EXIT_CODE (default 1)
 *   IGNORE_SIGTERM   "1": goes on until it is killed
 *   EXIT_AT_ONCE     "1": ends on SIGTERM without finishing anything
 *   LOCK             a file that only one app may have: fails to start while it is there, removes it on SIGTERM
 *   START_LOG        a line that is printed before anything else
 * What it answers is in routes.js.
 */

const port = Number(process.env.PORT ?? 8080)
const listen = process.env.LISTEN ?? 'port'
const places = {
  port: { port },
  loopback: { port, host: '127.0.0.1' },
  other: { port: port + 1 },
}

const lock = process.env.LOCK
if (lock !== undefined) writeFileSync(lock, '', { flag: 'wx' })
if (process.env.START_LOG !== undefined) console.log(process.env.START_LOG)

const server = createServer((request, response) => {
  answer(request, response).catch((error) => {
    console.error(error)
    response.destroy()
  })
})
server.on('upgrade', (request, socket) => {
  stats.enter()
  socket.once('close', () => stats.leave())
  acceptWebSocket(request, socket)
})
server.keepAliveTimeout = 5000
server.requestTimeout = 0

setTimeout(
  () => {
    const place = places[listen]
    if (place === undefined) return
    server.listen(place, () => console.log(`listening on ${place.host ?? 'every address'}:${place.port}`))
  },
  Number(process.env.START_DELAY_MS ?? 0),
)

// Without a listener nothing else would keep the process alive.
setInterval(() => undefined, 60_000)

if (process.env.EXIT_AFTER_MS !== undefined) {
  setTimeout(() => {
    console.error('ending as asked')
    process.exit(Number(process.env.EXIT_CODE ?? 1))
  }, Number(process.env.EXIT_AFTER_MS))
}

process.on('SIGTERM', () => {
  console.log('got SIGTERM')
  if (process.env.IGNORE_SIGTERM === '1') return
  if (process.env.EXIT_AT_ONCE === '1') process.exit(0)
  server.close(() => {
    if (lock !== undefined) rmSync(lock)
    process.exit(0)
  })
  server.closeIdleConnections()
})
