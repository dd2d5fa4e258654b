import { rm } from 'node:fs/promises'
import { createServer, type Server, type ServerResponse } from 'node:http'
import { messageOf } from '../failure.ts'
import type { SupervisorStatus } from './supervisor.ts'

export type ControlActions = {
  status(): SupervisorStatus
  restart(name: string): Promise<void>
  /** Begins to stop; the answer goes out before the end. */
  down(): void
}

/**
 * HTTP on a unix socket in a folder of the user alone: `GET /status`, `POST /restart/<process>`, `POST /down`.
 * Whoever listens here is the supervisor of this data folder.
 */
export async function serveControl(socketPath: string, actions: ControlActions): Promise<Server> {
  await rm(socketPath, { force: true })
  const server = createServer((incoming, outgoing) => {
    incoming.resume()
    answer(`${incoming.method} ${incoming.url}`, actions, outgoing).catch((error: unknown) => {
      send(outgoing, 500, { problem: messageOf(error) })
    })
  })
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject)
    server.listen(socketPath, resolve)
  })
  return server
}

async function answer(request: string, actions: ControlActions, outgoing: ServerResponse): Promise<void> {
  const restart = /^POST \/restart\/([a-z-]+)$/.exec(request)?.[1]
  if (request === 'GET /status') {
    send(outgoing, 200, actions.status())
  } else if (restart !== undefined) {
    await actions.restart(restart)
    send(outgoing, 200, actions.status())
  } else if (request === 'POST /down') {
    send(outgoing, 202, {})
    actions.down()
  } else {
    send(outgoing, 404, { problem: `nothing answers ${request}` })
  }
}

function send(outgoing: ServerResponse, status: number, body: unknown): void {
  outgoing.writeHead(status, { 'content-type': 'application/json' })
  outgoing.end(JSON.stringify(body))
}
