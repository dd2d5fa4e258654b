import { createServer } from 'node:http'
import { hostname } from 'node:os'

/*
 * The sample service: says which revision and replica answered, how often this replica was asked, and what
 * the request looked like when it arrived here. A replica is known inside by its hostname, the beginning of the id of
 * its sandbox.
 */

let requests = 0

const server = createServer((request, response) => {
  request.resume()
  if (request.url === '/healthz') {
    response.end('ok\n')
    return
  }
  requests += 1
  const body = {
    message: 'Hello from Berth',
    service: process.env.K_SERVICE ?? null,
    revision: process.env.K_REVISION ?? null,
    hostname: hostname(),
    requests,
    uptimeSeconds: Math.round(process.uptime()),
    method: request.method,
    url: request.url,
    headers: request.headers,
  }
  response.setHeader('content-type', 'application/json')
  response.end(`${JSON.stringify(body, null, 2)}\n`)
})

server.listen(Number(process.env.PORT ?? 8080))

process.on('SIGTERM', () => {
  server.close(() => process.exit(0))
  server.closeIdleConnections()
})
