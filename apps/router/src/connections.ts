import type { Socket } from 'node:net'
import type { Exchange } from './exchange/exchange.ts'

type Connection = {
  /** In the order in which they were asked. */
  exchanges: Set<Exchange>
  closing: boolean
  bytesRead: number
  quietSince: number
}

/**
 * The connections of clients with their exchanges. Node's own list of idle connections would not do: it calls one
 * idle whose answer is complete here but not yet with the client, and knows no time since the last answer.
 */
export class Connections {
  readonly #bySocket = new Map<Socket, Connection>()

  get size(): number {
    return this.#bySocket.size
  }

  opened(socket: Socket): void {
    this.#bySocket.set(socket, {
      exchanges: new Set(),
      closing: false,
      bytesRead: 0,
      quietSince: performance.now(),
    })
    socket.once('close', () => this.#forgetWhenOver(socket))
  }

  begin(exchange: Exchange): void {
    this.#bySocket.get(exchange.socket)?.exchanges.add(exchange)
  }

  end(exchange: Exchange): void {
    const connection = this.#bySocket.get(exchange.socket)
    if (!connection) return
    connection.exchanges.delete(exchange)
    connection.closing ||= exchange.closesConnection
    connection.bytesRead = exchange.socket.bytesRead
    connection.quietSince = performance.now()
    this.#forgetWhenOver(exchange.socket)
  }

  /** Exchanges that are under way on `socket`, oldest first. */
  on(socket: Socket): Exchange[] {
    return [...(this.#bySocket.get(socket)?.exchanges ?? [])]
  }

  /** Nothing has been asked on its connection since. */
  isNewest(exchange: Exchange): boolean {
    return this.on(exchange.socket).at(-1) === exchange
  }

  /** An answer on `socket` says that it is the last: what is asked afterwards is not processed (RFC 9112, 9.6). */
  isClosing(socket: Socket): boolean {
    const connection = this.#bySocket.get(socket)
    return connection?.closing === true || this.on(socket).some((exchange) => exchange.closesConnection)
  }

  /** Every exchange that is under way. */
  exchanges(): Exchange[] {
    return [...this.#bySocket.values()].flatMap(({ exchanges }) => [...exchanges])
  }

  /** Closes what has had no exchange and no byte for `quietMs`, counted from `since` at the earliest. */
  closeQuiet(quietMs: number, since: number): void {
    const now = performance.now()
    for (const [socket, connection] of this.#bySocket) {
      if (connection.exchanges.size > 0) continue
      if (socket.bytesRead !== connection.bytesRead) {
        // The next request is on its way.
        connection.bytesRead = socket.bytesRead
        connection.quietSince = now
      } else if (now - Math.max(connection.quietSince, since) >= quietMs) socket.destroySoon()
    }
  }

  destroyAll(): void {
    for (const socket of this.#bySocket.keys()) socket.destroy()
  }

  /** An app may still be at work for a client that is gone. */
  #forgetWhenOver(socket: Socket): void {
    if (socket.closed && this.on(socket).length === 0) this.#bySocket.delete(socket)
  }
}
