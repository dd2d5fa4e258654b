import { rm } from 'node:fs/promises'
import { createServer, type Server, type ServerResponse } from 'node:http'
import { messageOf } from '../failure.ts'
import type { SupervisorStatus } from './supervisor.ts'

export type ControlActions = {
  status(): SupervisorStatus
  /** What can be done to one process, by name. */
  restart(name: string): Promise<void>
  pause(name: string): Promise<void>
  resume(name: string): Promise<void>
  /** Begins to stop; the answer goes out before the end. */
  down(): void
}

/**
 * HTTP on a unix socket in a folder of the user alone: `GET /status`, `POST /down`, and
 * `POST /restart/<process>`, `/pause/<process>`, `/resume/<process>`.
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
  const [, verb, name] = /^POST \/(restart|pause|resume)\/([a-z0-9-]+)$/.exec(request) ?? []
  if (request === 'GET /status') {
    send(outgoing, 200, actions.status())
  } else if (name !== undefined && (verb === 'restart' || verb === 'pause' || verb === 'resume')) {
    await actions[verb](name)
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
