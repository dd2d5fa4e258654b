import { createHash } from 'node:crypto'
import { readFile, writeFile } from 'node:fs/promises'
import { hostname } from 'node:os'
import { setTimeout as delay } from 'node:timers/promises'
import { container, describePath, readInput, readText, writeText } from './container.js'

/** How many requests are here at once; `/stats` itself and `/healthz` do not count. */
export const stats = {
  current: 0,
  maximum: 0,
  total: 0,
  enter() {
    stats.current += 1
    stats.total += 1
    stats.maximum = Math.max(stats.maximum, stats.current)
  },
  leave() {
    stats.current -= 1
  },
}

let ready = process.env.READY_AFTER_MS === undefined
if (!ready) setTimeout(() => (ready = true), Number(process.env.READY_AFTER_MS))
const eaten = []

/** Every path; anything unknown is an echo. Numbers come from the query. */
const routes = {
  '/healthz': (_url, _request, response) =>
    response.writeHead(ready ? 200 : 503).end(ready ? 'ok' : 'not ready'),
  '/stats': (_url, _request, response) =>
    sendJson(response, { ...stats, pid: process.pid, replica: hostname() }),
  '/ready': (_url, _request, response) => {
    ready = true
    response.end()
  },
  // ?ms=3000: ready again by itself after that time
  '/unready': (url, _request, response) => {
    ready = false
    if (url.searchParams.has('ms')) setTimeout(() => (ready = true), number(url, 'ms', 0))
    response.end()
  },
  // ?ms=300: answers after that time
  '/sleep': async (url, _request, response) => {
    await delay(number(url, 'ms', 300))
    sendJson(response, { slept: number(url, 'ms', 300), replica: hostname(), pid: process.pid })
  },
  // ?mb=200: takes and touches that much memory
  '/eat': (url, _request, response) => {
    for (let taken = 0; taken < number(url, 'mb', 64); taken += 1) eaten.push(Buffer.alloc(1024 * 1024, 1))
    sendJson(response, { megabytes: eaten.length })
  },
  // ?count=5&ms=100: that many server-sent events
  '/events': async (url, _request, response) => {
    response.writeHead(200, { 'content-type': 'text/event-stream', 'cache-control': 'no-store' })
    for (let index = 0; index < number(url, 'count', 5) && !response.destroyed; index += 1) {
      response.write(`id: ${index}\ndata: ${JSON.stringify({ index })}\n\n`)
      await delay(number(url, 'ms', 100))
    }
    response.end()
  },
  // ?chunks=10&bytes=65536&ms=0: a chunked body
  '/stream': async (url, _request, response) => {
    const chunk = Buffer.alloc(number(url, 'bytes', 65_536), 'x')
    for (let index = 0; index < number(url, 'chunks', 10); index += 1) {
      if (!response.write(chunk)) await new Promise((resolve) => response.once('drain', resolve))
      if (number(url, 'ms', 0) > 0) await delay(number(url, 'ms', 0))
    }
    response.end()
  },
  // ?bytes=1000: a body of known length
  '/big': async (url, _request, response) => {
    const size = number(url, 'bytes', 1024 * 1024)
    response.writeHead(200, { 'content-type': 'application/octet-stream', 'content-length': size })
    const chunk = Buffer.alloc(65_536, 'x')
    for (let sent = 0; sent < size; sent += chunk.length) {
      const part = size - sent < chunk.length ? chunk.subarray(0, size - sent) : chunk
      if (!response.write(part)) await new Promise((resolve) => response.once('drain', resolve))
    }
    response.end()
  },
  // ?code=404: that status
  '/status': (url, _request, response) => response.writeHead(number(url, 'code', 200)).end(),
  // ?code=1: ends without an answer
  '/crash': (url) => process.exit(number(url, 'code', 1)),
  // Half a body, then the end of the process
  '/break': (_url, _request, response) => {
    response.writeHead(200, { 'content-length': 1000 })
    response.write('half', () => process.exit(1))
  },
  // ?line=text: prints it
  '/log': (url, _request, response) => {
    console.log(url.searchParams.get('line'))
    response.end()
  },
  // ?path=/data/a: POST writes its body there, anything else reads it
  '/file': async (url, request, response) => {
    const path = url.searchParams.get('path')
    if (request.method === 'POST') await writeFile(path, request)
    const text = await readFile(path, 'utf8').catch((error) => error.code)
    response.end(text)
  },
  '/env': (_url, _request, response) => sendJson(response, process.env),
  '/container': (_url, _request, response) => sendJson(response, container()),
  // ?path=/tmp: what is there
  '/path': (url, _request, response) => sendJson(response, describePath(url.searchParams.get('path'))),
  '/read': (url, _request, response) => sendJson(response, readText(url.searchParams.get('path'))),
  '/write': (url, _request, response) =>
    sendJson(response, writeText(url.searchParams.get('path'), url.searchParams.get('text'))),
  '/stdin': async (_url, _request, response) => sendJson(response, await readInput()),
}

export async function answer(request, response) {
  const url = new URL(request.url, 'http://app')
  const route = routes[url.pathname] ?? echo
  const counts = url.pathname !== '/stats' && url.pathname !== '/healthz'
  if (counts) {
    stats.enter()
    response.once('close', () => stats.leave())
  }
  if (route !== echo && url.pathname !== '/file') request.resume()
  await route(url, request, response)
}

/** With `ECHO_STATUS` the answer has that status. */
async function echo(_url, request, response) {
  const hash = createHash('sha256')
  let length = 0
  for await (const chunk of request) {
    hash.update(chunk)
    length += chunk.length
  }
  response.statusCode = Number(process.env.ECHO_STATUS ?? 200)
  sendJson(response, {
    method: request.method,
    url: request.url,
    httpVersion: request.httpVersion,
    headers: request.headers,
    rawHeaders: request.rawHeaders,
    trailers: request.trailers,
    bodyLength: length,
    bodySha256: hash.digest('hex'),
    service: process.env.K_SERVICE ?? null,
    revision: process.env.K_REVISION ?? null,
    configuration: process.env.K_CONFIGURATION ?? null,
    port: process.env.PORT ?? null,
    message: process.env.MESSAGE ?? null,
    replica: hostname(),
    pid: process.pid,
  })
}

function sendJson(response, body) {
  response.setHeader('content-type', 'application/json')
  response.end(JSON.stringify(body))
}

function number(url, name, fallback) {
  return Number(url.searchParams.get(name) ?? fallback)
}
