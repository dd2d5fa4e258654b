import type { ClientConnection } from './downstream/client-connection.ts'
import type { Exchange } from './exchange/exchange.ts'

/** How late a deadline of a connection may be kept. */
const tendMs = 1000
/** All of them at once would hold up whoever asks meanwhile. */
const tendParts = 20

/** The connections of clients, and what is under way for them. */
export class Connections {
  readonly #connections = new Set<ClientConnection>()
  /** Also those of clients that are gone: their apps may still be at work. */
  readonly #exchanges = new Set<Exchange>()
  #tending: NodeJS.Timeout | undefined
  /** Whoever is looked at next. */
  #round = this.#connections.values()

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
    if (this.#connections.size === 0) this.#tending = setInterval(this.#tend, tendMs / tendParts).unref()
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

  /** Looks at the next part of them, so that everyone has been looked at once in a second. */
  readonly #tend = (): void => {
    const now = performance.now()
    let left = Math.ceil(this.#connections.size / tendParts)
    for (; left > 0; left -= 1) {
      const { value: connection, done } = this.#round.next()
      if (done) return void (this.#round = this.#connections.values())
      connection.tend(now)
    }
  }
}
