import { connect, type Socket } from 'node:net'
import {
  compareVersions,
  leaderFrame,
  type RevisionRoute,
  type RouterFrame,
  type RouteSnapshot,
  type RouteVersion,
} from '@berth/contracts'
import { readFrames, writeFrame } from '../frame-lines.ts'

/** `answers` since each report before. */
type Load = { queued: number; inFlight: number; answers?: { requests: number; failed: number } }

/** A router as far as the leader is concerned: it keeps the table, acknowledges, and reports what a test says. */
export type StandInRouter = {
  readonly version: RouteVersion | undefined
  revision(uid: string): RevisionRoute | undefined
  hosts(): string[]
  /** What it says from now on about a revision; `null` says nothing about it. */
  load(revision: string, load: Load | null): void
  /** How long every replica without requests in flight has been idle, in its reports. */
  idleMs: number
  /** Replicas that it does not let go of. */
  readonly lingering: Set<string>
  /** Every epoch from which it got a table. */
  readonly epochs: number[]
  close(): void
}

const speakEveryMs = 50

/** Dials again until it is closed. Begins with the table `kept`, as a router does that was there before its leader. */
export function standInRouter(socketPath: string, id = 'router-1', kept?: RouteSnapshot): StandInRouter {
  let table = kept
  let socket: Socket | undefined
  let closed = false
  const loads = new Map<string, Load>()
  const lingering = new Set<string>()
  const epochs: number[] = []

  function say(frame: RouterFrame): void {
    if (socket) writeFrame(socket, frame)
  }

  function acknowledge(): void {
    if (table) say({ kind: 'acknowledge', version: table.version, lingering: [...lingering] })
  }

  function take(data: unknown): void {
    const frame = leaderFrame.parse(data)
    if (frame.kind === 'snapshot') {
      if (table && compareVersions(frame.version, table.version) < 0) return
      table = frame
      epochs.push(frame.version.epoch)
      acknowledge()
    } else if (frame.kind === 'delta') {
      const fits = table?.version.epoch === frame.base.epoch && table.version.sequence === frame.base.sequence
      if (!table || !fits) return say({ kind: 'resync' })
      const goneHosts = new Set([...frame.removedHosts, ...frame.hosts.map(({ host }) => host)])
      const goneRevisions = new Set([...frame.removedRevisions, ...frame.revisions.map(({ uid }) => uid)])
      table = {
        ...table,
        version: frame.version,
        hosts: [...table.hosts.filter(({ host }) => !goneHosts.has(host)), ...frame.hosts],
        revisions: [...table.revisions.filter(({ uid }) => !goneRevisions.has(uid)), ...frame.revisions],
      }
      acknowledge()
    }
  }

  function dial(): void {
    if (closed) return
    const next = connect(socketPath)
    next.on('error', () => undefined)
    next.on('connect', () => {
      socket = next
      const known = table ? { version: table.version } : {}
      say({ kind: 'hello', router: id, incarnation: '1', adminPort: 1, ...known })
    })
    next.on('close', () => {
      socket = undefined
      setTimeout(dial, speakEveryMs)
    })
    readFrames(next, take)
  }

  const router: StandInRouter = {
    get version() {
      return table?.version
    },
    revision: (uid) => table?.revisions.find((revision) => revision.uid === uid),
    hosts: () => table?.hosts.map(({ host }) => host) ?? [],
    load(revision, load) {
      if (load) loads.set(revision, load)
      else loads.delete(revision)
    },
    idleMs: 0,
    lingering,
    epochs,
    close() {
      closed = true
      clearInterval(timer)
      socket?.destroy()
    },
  }

  function speak(): void {
    if (!table) return
    acknowledge()
    const revisions = table.revisions.map(({ uid, replicas }) => {
      const { queued, inFlight, ...told } = loads.get(uid) ?? { queued: 0, inFlight: 0 }
      const busy = queued + inFlight > 0
      return {
        uid,
        inFlight,
        queued,
        concurrency: inFlight + queued,
        requests: 0,
        ...told,
        replicas: replicas.map((replica) => ({
          id: replica.id,
          inFlight: busy ? 1 : 0,
          idleMs: busy ? 0 : router.idleMs,
        })),
      }
    })
    say({ kind: 'report', version: table.version, revisions })
    for (const [revision, { queued, inFlight }] of loads)
      if (queued > 0) say({ kind: 'demand', revision, queued, inFlight })
  }

  const timer = setInterval(speak, speakEveryMs)
  dial()
  return router
}
