import { request, type IncomingHttpHeaders, type OutgoingHttpHeaders } from 'node:http'
import { createServer, type RequestListener, type Server } from 'node:http'
import { connect } from 'node:net'
import { pino } from 'pino'
import type { RevisionRoute, RouteDelta, RouteSnapshot } from '@berth/contracts'
import { parseConfig } from '../config.ts'
import { startRouter, type LogLines, type Router } from '../router.ts'
import { aSnapshot, testInstallation } from './routes.ts'
import { startStandInLeader, type StandInLeader } from './stand-in-leader.ts'

export type Edge = {
  router: Router
  leader: StandInLeader
  port: number
  /** Publishes a whole table as its next version. */
  publish: (changes: Partial<RouteSnapshot>) => RouteSnapshot
  /** Publishes one revision as a delta. */
  change: (revision: RevisionRoute) => RouteDelta
  close(): Promise<void>
}

/** A router in this process with a stand-in for the leader, on ports of its own; silent without `lines`. */
export async function startEdge(
  first: Partial<RouteSnapshot> = {},
  env: Record<string, string> = {},
  lines?: LogLines,
): Promise<Edge> {
  let table = aSnapshot(first)
  const leader = await startStandInLeader(() => table)
  const config = parseConfig({
    BERTH_INSTALLATION: testInstallation,
    BERTH_HUB_SOCKET: leader.socketPath,
    BERTH_ROUTE_TABLE_FILE: `${leader.folder}/routes.json`,
    BERTH_EDGE_PORT: '0',
    BERTH_ROUTER_ADMIN_PORT: '0',
    BERTH_ROUTER_DRAIN_SECONDS: '0',
    BERTH_LOG_LEVEL: 'silent',
    ...env,
  })
  const log = lines ? pino({}, lines) : pino({ level: 'silent' })
  const router = await startRouter(config, log, lines)
  return {
    router,
    leader,
    port: router.edgePorts[0] ?? 0,
    publish(changes) {
      const { epoch, sequence } = table.version
      table = { ...table, version: { epoch, sequence: sequence + 1 }, ...changes }
      leader.send(table)
      return table
    },
    change(revision) {
      const base = table.version
      const version = { epoch: base.epoch, sequence: base.sequence + 1 }
      const others = table.revisions.filter((other) => other.uid !== revision.uid)
      table = { ...table, version, revisions: [...others, revision] }
      const delta: RouteDelta = {
        kind: 'delta',
        base,
        version,
        hosts: [],
        removedHosts: [],
        revisions: [revision],
        removedRevisions: [],
      }
      leader.send(delta)
      return delta
    },
    async close() {
      await router.stop()
      await leader.close()
    },
  }
}

export type App = { server: Server; port: number; close(): Promise<void> }

/** A stand-in for a replica's app. */
export function startApp(listener: RequestListener): Promise<App> {
  const server = createServer(listener)
  return new Promise((resolve) => {
    server.listen(0, '127.0.0.1', () => {
      const address = server.address()
      resolve({
        server,
        port: address !== null && typeof address === 'object' ? address.port : 0,
        close: () =>
          new Promise((closed) => {
            server.close(() => closed())
            server.closeAllConnections()
          }),
      })
    })
  })
}

export type Answer = { status: number; headers: IncomingHttpHeaders; rawHeaders: string[]; body: string }
export type Asked = {
  port: number
  host?: string
  method?: string
  path?: string
  headers?: OutgoingHttpHeaders
  body?: string | Buffer
  signal?: AbortSignal
}

/** One request on a connection of its own. Rejects when the answer breaks off. */
export function ask(asked: Asked): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const outgoing = request({
      host: '127.0.0.1',
      port: asked.port,
      method: asked.method ?? 'GET',
      path: asked.path ?? '/',
      agent: false,
      headers: { host: asked.host ?? 'hello.localhost', ...asked.headers },
      ...(asked.signal ? { signal: asked.signal } : {}),
    })
    outgoing.once('error', reject)
    outgoing.once('response', (incoming) => {
      const chunks: Buffer[] = []
      incoming.on('data', (chunk: Buffer) => chunks.push(chunk))
      incoming.once('error', reject)
      incoming.once('end', () =>
        resolve({
          status: incoming.statusCode ?? 0,
          headers: incoming.headers,
          rawHeaders: incoming.rawHeaders,
          body: Buffer.concat(chunks).toString(),
        }),
      )
    })
    outgoing.end(asked.body)
  })
}

/** Writes bytes as they are and reads until the other side closes. */
export function sendRaw(port: number, bytes: string | Buffer): Promise<string> {
  return new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1')
    let received = ''
    socket.setEncoding('latin1')
    socket.on('data', (text: string) => {
      received += text
    })
    socket.on('error', () => undefined)
    socket.once('close', () => resolve(received))
    socket.write(bytes)
  })
}

/** Looks every 10 ms until `probe` gives something; fails after `limitMs`. */
export async function eventually<Value>(
  probe: () => Value | undefined | false | Promise<Value | undefined | false>,
  limitMs = 20_000,
): Promise<Value> {
  const deadline = performance.now() + limitMs
  for (;;) {
    const value = await probe()
    if (value !== undefined && value !== false) return value
    if (performance.now() > deadline) throw new Error('it did not happen in time')
    await new Promise((resolve) => {
      setTimeout(resolve, 10)
    })
  }
}
