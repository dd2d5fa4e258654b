import { readlinkSync } from 'node:fs'
import { chmod, rm } from 'node:fs/promises'
import { connect, createServer, type Server, type Socket } from 'node:net'
import {
  assertNever,
  compareVersions,
  heartbeatIntervalMs,
  parseRouterFrame,
  relayedRouterFrame,
  type HelloFrame,
  type LeaderFrame,
  type ReplicaId,
  type RouterFrame,
  type RouteSnapshot,
  type RouteVersion,
  type SlotsFrame,
} from '@berth/contracts'
import type { Logger } from 'pino'
import { readFrames, writeFrame } from './frame-lines.ts'
import type { RouterAudience } from './route-publisher.ts'
import { createRouterMembership } from './router-membership.ts'
import { createRouterReports } from './router-reports.ts'
import { createSlotLedger, type SlotLedger } from './slot-ledger.ts'

/** The second way to the routers: one channel each way in Redis. Implemented in `src/redis`. */
export type RouterRelay = {
  publish(frame: LeaderFrame): void
  onFrame(listener: (payload: unknown) => void): () => void
}

export type RouterHubOptions = {
  socketPath: string
  relay: RouterRelay
  log: Logger
  now?: () => number
}

/** What the hub needs from whoever leads. */
export type Leading = {
  epoch: number
  /** The table to give to a router that has none. */
  snapshot(): RouteSnapshot
  /**
   * A router serves a newer table than this leader has ever sent, so it takes none from it. That is what a database
   * from a backup does: it knows nothing of the leaders since.
   */
  onAhead(served: RouteVersion): void
}

export type RouterHub = Awaited<ReturnType<typeof openRouterHub>>

/** More than this unsent means that the router does not read: a table of thousands of services is some megabytes. */
const maxUnsentBytes = 16 * 1024 * 1024

/**
 * Listens for routers on a unix socket, and on Redis for those whose socket is down. While this worker does not
 * lead, every router that dials is told so and let go.
 */
export async function openRouterHub(options: RouterHubOptions) {
  const { log } = options
  const now = options.now ?? (() => performance.now())
  const sockets = new Map<Socket, { router?: string; incarnation?: string }>()
  /** Routers that said goodbye: what they said before may come after that, on the other way. */
  const ended = new Set<string>()
  let leading: Leading | undefined
  let slots: SlotLedger | undefined
  let newest: RouteVersion = { epoch: 0, sequence: 0 }

  const membership = createRouterMembership({
    now,
    isGone: adminPortRefuses,
    hasEnded: processHasEnded,
    onExcused(router, why, how) {
      log.warn({ router, why }, 'router excused from acknowledging')
      reports.forgetRouter(router)
      slots?.lost(router, how)
      for (const [socket, peer] of sockets) if (peer.router === router) socket.destroy()
    },
  })
  const reports = createRouterReports({
    now,
    knownRouters: () => membership.known().map((router) => router.id),
  })

  function take(router: string, frame: RouterFrame, reply: (frame: LeaderFrame) => void): void {
    if (!leading) return
    membership.heard(router)
    const served = 'version' in frame ? frame.version : undefined
    if (served && compareVersions(served, newest) > 0) return leading.onAhead(served)
    switch (frame.kind) {
      case 'hello':
        slots?.greeted(router, frame.slots)
        reply(leading.snapshot())
        return
      case 'slots-held':
        slots?.held(router, frame)
        return
      case 'resync':
        reply(leading.snapshot())
        return
      case 'acknowledge':
        membership.acknowledge(router, frame.version, frame.lingering)
        return
      case 'demand':
        reports.demand(router, frame)
        slots?.needs(router, frame.revision, frame.queued + frame.inFlight)
        return
      case 'report':
        reports.report(router, frame)
        slots?.reported(router, frame)
        return
      case 'replica-failed':
        reports.replicaFailed(frame.replica as ReplicaId, frame.cause)
        return
      case 'goodbye':
        ended.add(router)
        membership.goodbye(router)
        slots?.left(router)
        reports.forgetRouter(router)
        return
      default:
        assertNever(frame)
    }
  }

  function accept(socket: Socket): void {
    const peer: { router?: string; incarnation?: string } = {}
    sockets.set(socket, peer)
    socket.on('error', (error) => log.debug({ err: error, router: peer.router }, 'router connection broke'))
    if (!leading) sendAway(socket)
    socket.on('close', () => {
      sockets.delete(socket)
      const { router, incarnation } = peer
      if (router === undefined || incarnation === undefined) return
      // What dialled again while this process stood still has a newer connection.
      const hasOther = [...sockets.values()].some(
        (other) => other.router === router && other.incarnation === incarnation,
      )
      if (!hasOther) membership.disconnected(router, incarnation)
    })
    readFrames(socket, (data) => {
      if (!leading) return
      const frame = parseRouterFrame(data)
      if (frame === null) return
      if (frame.kind === 'hello') {
        if (ended.has(frame.router)) return
        peer.router = frame.router
        peer.incarnation = frame.incarnation
        membership.hello(frame, true)
        log.info({ router: frame.router }, 'router connected')
      }
      if (peer.router !== undefined) take(peer.router, frame, (answer) => send(socket, answer))
    })
  }

  /** Frames follow from the table, so whoever does not read them is let go and starts over. */
  function send(socket: Socket, frame: LeaderFrame): void {
    if (socket.writableLength > maxUnsentBytes) socket.destroy()
    else writeFrame(socket, frame)
  }

  /** Over whichever way reaches it. One frame after the other: each changes what the one before has said. */
  function sendSlots(router: string, frame: SlotsFrame): void {
    const direct = [...sockets].findLast(([, peer]) => peer.router === router)?.[0]
    if (direct && !direct.destroyed) send(direct, frame)
    else options.relay.publish(frame)
  }

  /** Says who does not lead here and lets the router go; it dials again until it finds who does. */
  function sendAway(socket: Socket): void {
    writeFrame(socket, { kind: 'not-leader' })
    socket.end()
  }

  function takeRelayed(payload: unknown): void {
    const relayed = relayedRouterFrame.safeParse(payload)
    if (!relayed.success || !leading) return
    const { router, frame } = relayed.data
    if (ended.has(router)) return
    if (frame.kind === 'hello') membership.hello(frame, false)
    take(router, frame, (answer) => options.relay.publish(answer))
  }

  const server = createServer(accept)
  await listenOn(server, options.socketPath)
  const stopRelay = options.relay.onFrame(takeRelayed)
  const heartbeat = setInterval(() => {
    if (!leading) return
    const frame = { kind: 'heartbeat', epoch: leading.epoch } as const
    for (const socket of sockets.keys()) send(socket, frame)
    options.relay.publish(frame)
  }, heartbeatIntervalMs)
  const membershipTick = setInterval(() => {
    membership.tick()
    slots?.tick()
  }, 1000)

  const audience: RouterAudience = {
    broadcast(frame) {
      if (!leading) return
      if (frame.kind === 'snapshot' || frame.kind === 'delta') newest = frame.version
      for (const [socket, peer] of sockets) if (peer.router !== undefined) send(socket, frame)
      options.relay.publish(frame)
      if (frame.kind === 'snapshot' || frame.kind === 'delta') slots?.published(frame)
    },
    acknowledged: (version, replicas, deadlineMs) => membership.acknowledged(version, replicas, deadlineMs),
  }

  return {
    reports,
    audience,
    membership,

    /** Drops what is kept of replicas that are no more. */
    forgetReplicas(isKnown: (replica: string) => boolean): void {
      slots?.forget(isKnown)
    },

    /** From here on routers are served; every one that is connected gets the whole table. */
    lead(as: Leading): void {
      leading = as
      membership.begin()
      const snapshot = as.snapshot()
      newest = snapshot.version
      slots = createSlotLedger({
        epoch: as.epoch,
        now,
        allHaveCome: () => membership.awaitsNobody(),
        send: sendSlots,
      })
      slots.published(snapshot)
      for (const socket of sockets.keys()) send(socket, snapshot)
      options.relay.publish(snapshot)
    },

    /** Lets every router go, so that it finds the new leader. */
    stopLeading(): void {
      leading = undefined
      slots = undefined
      membership.end()
      for (const socket of sockets.keys()) sendAway(socket)
    },

    async close(): Promise<void> {
      clearInterval(heartbeat)
      clearInterval(membershipTick)
      stopRelay()
      leading = undefined
      slots = undefined
      membership.end()
      for (const socket of sockets.keys()) socket.destroy()
      await new Promise<void>((resolve) => {
        server.close(() => resolve())
      })
    },
  }
}

/** Listens on a unix socket; a socket file that a dead process left behind is replaced, a live one is not. */
async function listenOn(server: Server, path: string): Promise<void> {
  if (await somebodyListens(path)) throw new Error(`another process listens on ${path}`)
  await rm(path, { force: true })
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject)
    server.listen(path, () => {
      server.off('error', reject)
      resolve()
    })
  })
  await chmod(path, 0o666)
}

function somebodyListens(path: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(path)
    socket.once('connect', () => {
      socket.destroy()
      resolve(true)
    })
    socket.once('error', () => resolve(false))
  })
}

function adminPortRefuses(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect({ host: '127.0.0.1', port, timeout: 1000 })
    const settle = (gone: boolean) => {
      socket.destroy()
      resolve(gone)
    }
    socket.once('connect', () => settle(false))
    socket.once('timeout', () => settle(false))
    socket.once('error', (error: NodeJS.ErrnoException) => settle(error.code === 'ECONNREFUSED'))
  })
}

/** Whether a process of this host has ended; false where that cannot be told. */
function processHasEnded(process: HelloFrame['process']): boolean {
  if (process === undefined || process.namespace !== ownNamespace()) return false
  try {
    globalThis.process.kill(process.pid, 0)
    return false
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'ESRCH'
  }
}

/** Names the namespace of this process's ids; "" where there is no telling. */
function ownNamespace(): string {
  try {
    return readlinkSync('/proc/self/ns/pid')
  } catch {
    return ''
  }
}
