import type { Socket } from 'node:net'
import type { EdgeLimits } from './limits.ts'

/** Counts the connections of clients, so that nobody takes the descriptors of everybody else. */
export class ConnectionPlaces {
  readonly #limits: EdgeLimits
  readonly #byClient = new Map<string, number>()
  #taken = 0
  /** How many connections found no place. */
  refused = 0

  constructor(limits: EdgeLimits) {
    this.#limits = limits
  }

  /** Gives the socket a place until it closes; false, and the socket is destroyed, when there is none. */
  admit(socket: Socket, { trusted }: { trusted: boolean }): boolean {
    const client = clientOf(socket.remoteAddress ?? '')
    const held = this.#byClient.get(client) ?? 0
    const isOver = !trusted && held >= this.#limits.maxConnectionsPerClient
    if (isOver || this.#taken >= this.#limits.maxConnections) {
      this.refused += 1
      socket.on('error', () => undefined).resetAndDestroy()
      return false
    }
    this.#taken += 1
    this.#byClient.set(client, held + 1)
    socket.once('close', () => this.#leave(client))
    return true
  }

  #leave(client: string): void {
    this.#taken -= 1
    const left = (this.#byClient.get(client) ?? 1) - 1
    if (left > 0) this.#byClient.set(client, left)
    else this.#byClient.delete(client)
  }
}

/** One IPv4 address, or the /64 of an IPv6 one: whoever has one address of it has all. */
export function clientOf(address: string): string {
  const mapped = /^::ffff:([0-9.]+)$/.exec(address)?.[1]
  if (mapped !== undefined || !address.includes(':')) return mapped ?? address
  const [head = '', tail = ''] = address.split('::')
  const before = head === '' ? [] : head.split(':')
  const after = tail === '' ? [] : tail.split(':')
  const zeros = address.includes('::') ? Math.max(0, 8 - before.length - after.length) : 0
  return [...before, ...Array<string>(zeros).fill('0'), ...after].slice(0, 4).join(':')
}
