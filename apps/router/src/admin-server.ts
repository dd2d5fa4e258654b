import { createServer, type Server } from 'node:http'

export type AdminState = {
  /** Undefined when requests are served, else why not. */
  notReady(): string | undefined
  metrics(): Promise<string>
  metricsType: string
}

/**
 * Health and metrics, on a port of their own: on the edge `/healthz` belongs to the app. Two routers share the port
 * while one replaces the other, so each answer names its process.
 */
export function createAdminServer(state: AdminState): Server {
  return createServer((request, response) => {
    response.setHeader('x-berth-pid', process.pid)
    response.setHeader('connection', 'close')
    const say = (status: number, text: string, type = 'text/plain') =>
      response.writeHead(status, { 'content-type': type }).end(text)
    if (request.method !== 'GET' && request.method !== 'HEAD') return say(405, 'method not allowed\n')
    switch (request.url) {
      case '/healthz':
        return say(200, 'ok\n')
      case '/readyz': {
        const reason = state.notReady()
        return reason === undefined ? say(200, 'ready\n') : say(503, `${reason}\n`)
      }
      case '/metrics':
        state.metrics().then(
          (text) => say(200, text, state.metricsType),
          () => say(500, 'metrics failed\n'),
        )
        return undefined
      default:
        return say(404, 'nothing here\n')
    }
  })
}
