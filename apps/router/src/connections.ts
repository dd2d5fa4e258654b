import type { ClientConnection } from './downstream/client-connection.ts'
import type { Exchange } from './exchange/exchange.ts'

/** How late a deadline of a connection may be kept. */
const tendMs = 1000

/** The connections of clients, and what is under way for them. */
export class Connections {
  readonly #connections = new Set<ClientConnection>()
  /** Also those of clients that are gone: their apps may still be at work. */
  readonly #exchanges = new Set<Exchange>()
  #tending: NodeJS.Timeout | undefined

  /** Nothing is open, and nothing under way. */
  get isEmpty(): boolean {
    return this.#connections.size === 0 && this.#exchanges.size === 0
  }

  get size(): number {
    return this.#connections.size
  }

  /** Every exchange that is under way. */
  get exchanges(): ReadonlySet<Exchange> {
    return this.#exchanges
  }

  opened(connection: ClientConnection): void {
    if (this.#connections.size === 0) this.#tending = setInterval(this.#tend, tendMs).unref()
    this.#connections.add(connection)
  }

  closed(connection: ClientConnection): void {
    this.#connections.delete(connection)
    if (this.#connections.size === 0) clearInterval(this.#tending)
  }

  begin(exchange: Exchange): void {
    this.#exchanges.add(exchange)
  }

  end(exchange: Exchange): void {
    this.#exchanges.delete(exchange)
  }

  /** Closes what has been asked nothing for `quietMs`, counted from `since` at the earliest. */
  closeQuiet(quietMs: number, since: number): void {
    const now = performance.now()
    for (const connection of this.#connections) connection.closeQuiet(now, quietMs, since)
  }

  destroyAll(): void {
    for (const connection of this.#connections) connection.destroy()
  }

  readonly #tend = (): void => {
    const now = performance.now()
    for (const connection of this.#connections) connection.tend(now)
  }
}
