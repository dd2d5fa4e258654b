import { createServer, type Server } from 'node:http'
import type { FakeAppBehaviour, FakeContainer } from './fake-container.ts'

/**
 * The program in a running app container: a real HTTP listener at the address that its sandbox publishes. While it is
 * paused, connections are taken (as the kernel's backlog does) and requests wait.
 */
export class FakeApp {
  readonly #container: FakeContainer
  readonly #behaviour: FakeAppBehaviour
  readonly #timers: NodeJS.Timeout[] = []
  #server: Server | undefined
  #waiting: (() => void)[] = []
  listening = false

  constructor(container: FakeContainer, behaviour: FakeAppBehaviour) {
    this.#container = container
    this.#behaviour = behaviour
  }

  /** `onExit` is called when the program ends by itself. */
  start(at: { address: string; port: number } | undefined, onExit: () => void): void {
    const { listenAfterMs = 0, exitAfterMs, prints = [] } = this.#behaviour
    for (const line of prints) this.#container.log.push({ at: new Date(), line })
    if (exitAfterMs !== undefined) this.#timers.push(setTimeout(onExit, exitAfterMs))
    if (listenAfterMs === 'never' || at === undefined) return
    if (listenAfterMs === 0) this.#listen(at)
    else this.#timers.push(setTimeout(() => this.#listen(at), listenAfterMs))
  }

  unpause(): void {
    const waiting = this.#waiting
    this.#waiting = []
    for (const go of waiting) go()
  }

  stop(): void {
    for (const timer of this.#timers) clearTimeout(timer)
    this.listening = false
    this.#server?.close()
    this.#server?.closeAllConnections()
    this.#server = undefined
    this.unpause()
  }

  #listen(at: { address: string; port: number }): void {
    const handle = this.#behaviour.handle ?? ((_request, response) => void response.end('ok'))
    const server = createServer((request, response) => {
      const go = () => handle(request, response, this.#container)
      if (this.#container.status === 'paused') this.#waiting.push(go)
      else go()
    })
    server.on('error', () => undefined)
    server.listen(at.port, at.address)
    this.#server = server
    this.listening = true
  }
}
