import { connect, type Socket } from 'node:net'
import { host } from '../proxies/proxy.ts'
import { okWith } from './app.ts'
import type { ExactTimers } from './exact-timers.ts'
import type { Schedule } from './schedule.ts'

/** The answer that is expected, and how one knows that it is complete. */
export const smallAnswer = okWith(5)
const okHead = 'HTTP/1.1 200 '
/** After the last request was sent. */
const answerDeadlineMs = 30_000
const lastBytes = '\r\n\r\nxxxxx'

export type Replay = {
  /** When the schedule began, on the clock of `performance.now()`. */
  startedAt: number
  /** From the scheduled time to the last byte of each answer, in milliseconds; NaN where there was none. */
  latenciesMs: Float64Array
}

type ReplayOptions = {
  port: number
  timers: ExactTimers
  pathOf?: (index: number) => string
  /** Milliseconds after its scheduled time at which the client of a request gives up; undefined: it stays. */
  leavesAfter?: (index: number) => number | undefined
  /** Open before the start; more are opened when all are in use. */
  connections?: number
}

/**
 * Sends each request at its time, whatever became of those before it: latency counts from then on, so a proxy that
 * stands still is charged for everybody who would have come meanwhile (no coordinated omission).
 */
export async function replay(schedule: Schedule, options: ReplayOptions): Promise<Replay> {
  const { port, timers, pathOf = () => '/', leavesAfter, connections = 64 } = options
  const latenciesMs = new Float64Array(schedule.length).fill(Number.NaN)
  const free = await Promise.all(Array.from({ length: connections }, () => Client.connected(port)))
  const startedAt = performance.now() + 10
  const busy = new Set<Client>()
  let open = schedule.length

  /** Idle ones may have been closed meanwhile. */
  function takeFree(): Client {
    for (let client = free.pop(); client; client = free.pop()) if (client.isOpen) return client
    return new Client(port)
  }
  const patienceMs = 10 + (schedule.at(-1) ?? 0) + answerDeadlineMs
  const deadline = setTimeout(() => {
    for (const client of busy) client.close()
  }, patienceMs)

  await new Promise<void>((resolve) => {
    function send(index: number, at: number): void {
      const client = takeFree()
      busy.add(client)
      client.ask(pathOf(index), (answered) => {
        busy.delete(client)
        if (answered) {
          latenciesMs[index] = performance.now() - at
          free.push(client)
        }
        open -= 1
        if (open === 0) resolve()
      })
      const patience = leavesAfter?.(index)
      if (patience !== undefined) timers.at(at + patience, client.leaveUnlessAnswered())
      sendLater(index + 1)
    }
    function sendLater(index: number): void {
      const offset = schedule[index]
      if (offset !== undefined) timers.at(startedAt + offset, () => send(index, startedAt + offset))
    }
    sendLater(0)
  })
  clearTimeout(deadline)
  for (const client of free) client.close()
  return { startedAt, latenciesMs }
}

/** A kept connection with one request at a time. */
class Client {
  readonly #socket: Socket
  #onEnd: ((answered: boolean) => void) | undefined
  #text = ''
  #asked = 0

  constructor(port: number, onConnect?: (error?: Error) => void) {
    this.#socket = connect({ port, host: '127.0.0.1', noDelay: true })
    this.#socket.once('connect', () => onConnect?.())
    this.#socket.on('error', (error) => onConnect?.(error))
    this.#socket.once('close', () => this.#end(false))
    this.#socket.on('data', (chunk) => this.#read(chunk.toString('latin1')))
  }

  static connected(port: number): Promise<Client> {
    return new Promise((resolve, reject) => {
      const client: Client = new Client(port, (error) => (error ? reject(error) : resolve(client)))
    })
  }

  get isOpen(): boolean {
    return !this.#socket.destroyed
  }

  /** `onEnd` hears whether there was a whole answer with 200; without one the connection is over. */
  ask(path: string, onEnd: (answered: boolean) => void): void {
    this.#onEnd = onEnd
    this.#asked += 1
    this.#socket.write(
      `GET ${path} HTTP/1.1\r\nHost: ${host}\r\nUser-Agent: bench\r\nAccept: */*\r\nAccept-Encoding: gzip\r\n\r\n`,
    )
  }

  /** What leaves the request that is under way now, and no later one. */
  leaveUnlessAnswered(): () => void {
    const asked = this.#asked
    return () => {
      if (this.#asked === asked && this.#onEnd) this.close()
    }
  }

  close(): void {
    this.#socket.destroy()
  }

  #read(text: string): void {
    this.#text += text
    if (!this.#text.startsWith(okHead)) this.close()
    else if (this.#text.endsWith(lastBytes)) {
      this.#text = ''
      this.#end(true)
    }
  }

  #end(answered: boolean): void {
    const onEnd = this.#onEnd
    this.#onEnd = undefined
    onEnd?.(answered)
  }
}
