import { spawn, type ChildProcess } from 'node:child_process'
import { request } from 'node:http'
import * as net from 'node:net'
import { join } from 'node:path'
import { eventually } from './edge.ts'
import { testInstallation } from './routes.ts'

type Handle = { fd: number; close(): void; getsockname(out: { port?: number }): number }
const { _createServerHandle: createHandle } = net as unknown as {
  _createServerHandle: (address: string, port: number, family: 4 | 6, fd: number) => Handle
}

export type BoundSocket = { fd: number; port: number; close(): void }

/** A socket that is bound and does not accept: what a supervisor hands to its routers. */
export function bindSocket(): BoundSocket {
  const handle = createHandle('127.0.0.1', 0, 4, -1)
  const name: { port?: number } = {}
  handle.getsockname(name)
  return { fd: handle.fd, port: name.port ?? 0, close: () => handle.close() }
}

export type RouterPlace = {
  edge: BoundSocket
  admin: BoundSocket
  hubSocket: string
  tableFile: string
  /** Its standard output is a pipe, and it writes access lines there. */
  logs?: boolean
}

/** A router in a process of its own, as the supervisor starts it. */
export function startRouterProcess(place: RouterPlace): ChildProcess {
  const { edge, admin, hubSocket, tableFile, logs = false } = place
  return spawn(process.execPath, [join(import.meta.dirname, '../main.ts')], {
    env: {
      BERTH_INSTALLATION: testInstallation,
      BERTH_HUB_SOCKET: hubSocket,
      BERTH_ROUTE_TABLE_FILE: tableFile,
      BERTH_EDGE_FDS: '3',
      BERTH_ADMIN_FD: '4',
      BERTH_LOG_LEVEL: logs ? 'info' : 'warn',
    },
    stdio: ['ignore', logs ? 'pipe' : 'inherit', 'inherit', edge.fd, admin.fd],
  })
}

/** Resolves when `router` itself says that it is ready: while one replaces another both have the admin port. */
export async function untilRouterReady(router: ChildProcess, admin: BoundSocket): Promise<void> {
  await eventually(async () => {
    if (router.exitCode !== null) throw new Error(`the router ended with ${router.exitCode}`)
    const state = await readiness(admin.port)
    return state?.ready === true && state.pid === router.pid
  }, 40_000)
}

/** The answer of `/readyz`, and of which process it is. */
function readiness(port: number): Promise<{ ready: boolean; pid: number } | undefined> {
  return new Promise((resolve) => {
    const asked = request({ port, host: '127.0.0.1', path: '/readyz', agent: false }, (answer) => {
      answer.resume()
      resolve({ ready: answer.statusCode === 200, pid: Number(answer.headers['x-berth-pid']) })
    })
    asked.setTimeout(1000, () => asked.destroy())
    asked.once('error', () => resolve(undefined))
    asked.end()
  })
}
