import type { ReplicaRoute } from '@berth/contracts'
import { acceptsConnection } from './accepts-connection.ts'
import { Call, type CallHolder } from './call.ts'
import { Connection, type ConnectionOwner } from './connection.ts'
import type { Upstream, UpstreamCall, UpstreamListener, UpstreamRequest } from './upstream.ts'

const answersWithinMs = 2000
const maxUnlimitedConnections = 1024
/** How late an idle or a connecting connection may be closed. */
const tendMs = 250

/** Connections of our own HTTP/1.1 client to one replica, at most as many as it may have requests (0 = 1,024). */
export function openConnectionPool(route: ReplicaRoute, concurrency: number): Upstream {
  return new ConnectionPool(route, concurrency === 0 ? maxUnlimitedConnections : concurrency)
}

class ConnectionPool implements Upstream, ConnectionOwner, CallHolder {
  readonly #route: ReplicaRoute
  readonly #maxConnections: number
  readonly #connections = new Set<Connection>()
  /** The one that was used last is on top: those below grow old and go. */
  readonly #idle: Connection[] = []
  /** Calls that found every connection taken, oldest first. */
  readonly #waiting = new Set<Call>()
  #openSockets = 0
  /** Looks for what is overdue, for as long as there are connections. */
  #tending: NodeJS.Timeout | undefined
  #isClosed = false
  readonly #emptied = Promise.withResolvers<void>()

  constructor(route: ReplicaRoute, maxConnections: number) {
    this.#route = route
    this.#maxConnections = maxConnections
  }

  send(request: UpstreamRequest, listener: UpstreamListener): UpstreamCall {
    const call = new Call(request, listener)
    if (this.#isClosed) call.fail('connect', 'the replica is not asked any more')
    else if (!this.#start(call)) {
      call.heldBy(this)
      this.#waiting.add(call)
    }
    return call
  }

  answers(): Promise<boolean> {
    return acceptsConnection(this.#route, answersWithinMs)
  }

  close(): Promise<void> {
    this.#isClosed = true
    for (const call of this.#waiting) {
      this.#waiting.delete(call)
      call.fail('connect', 'the replica is not asked any more')
    }
    for (const connection of this.#connections) connection.close('the replica is not asked any more')
    if (this.#openSockets === 0) this.#emptied.resolve()
    return this.#emptied.promise
  }

  onIdle(connection: Connection): void {
    const [oldest] = this.#waiting
    if (!oldest) return void this.#idle.push(connection)
    this.#waiting.delete(oldest)
    connection.run(oldest)
  }

  onClosed(connection: Connection): void {
    this.#connections.delete(connection)
    const at = this.#idle.indexOf(connection)
    if (at >= 0) this.#idle.splice(at, 1)
    if (this.#connections.size === 0) clearInterval(this.#tending)
    const [oldest] = this.#waiting
    if (!oldest) return
    this.#waiting.delete(oldest)
    this.#start(oldest)
  }

  onSocketClosed(): void {
    this.#openSockets -= 1
    if (this.#isClosed && this.#openSockets === 0) this.#emptied.resolve()
  }

  /** A call that waits is read by nobody yet. */
  resume(): void {}

  /** A call that waits is taken back. */
  drop(call: Call): void {
    this.#waiting.delete(call)
  }

  /** Gives `call` a connection; false when all are taken. */
  #start(call: Call): boolean {
    const idle = this.#takeIdle()
    if (idle) idle.run(call)
    else if (this.#connections.size < this.#maxConnections) this.#connect(call)
    else return false
    return true
  }

  #takeIdle(): Connection | undefined {
    const now = performance.now()
    for (let idle = this.#idle.pop(); idle; idle = this.#idle.pop()) {
      if (!idle.isOverdue(now)) return idle
      idle.close('idle for too long')
    }
    return undefined
  }

  #connect(call: Call): void {
    try {
      const connection = new Connection(this.#route, this, call)
      if (this.#connections.size === 0) this.#tending = setInterval(this.#tend, tendMs).unref()
      this.#connections.add(connection)
      this.#openSockets += 1
    } catch (error) {
      call.fail('connect', String(error))
    }
  }

  /** After a turn in which the loop was held up, what has come in the meantime counts first. */
  readonly #tend = (): void => void setImmediate(this.#closeOverdue)

  readonly #closeOverdue = (): void => {
    const now = performance.now()
    for (const connection of this.#connections)
      if (connection.isOverdue(now)) connection.close('no connection, or idle for too long')
  }
}
