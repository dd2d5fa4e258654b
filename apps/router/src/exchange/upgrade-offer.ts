import type { Socket } from 'node:net'

const maxEarlyBytes = 64 * 1024

/**
 * The socket of a client that asks for a WebSocket, until a replica has agreed. It is read all the while: only so is
 * it noticed that the client leaves. What comes ahead is kept up to 64 KiB, then the client has to wait.
 */
export class UpgradeOffer {
  readonly socket: Socket
  #early: Buffer[]
  #earlyBytes: number

  /** `head` is what arrived together with the request. */
  constructor(socket: Socket, head: Buffer) {
    this.socket = socket
    this.#early = [head]
    this.#earlyBytes = head.length
    socket.on('data', this.#keep)
    socket.on('end', this.#leave)
  }

  /** Stops reading and hands over what has come so far. */
  accept(): Buffer {
    this.socket.pause()
    this.socket.off('data', this.#keep)
    this.socket.off('end', this.#leave)
    return Buffer.concat(this.#early.splice(0))
  }

  readonly #keep = (chunk: Buffer): void => {
    this.#early.push(chunk)
    this.#earlyBytes += chunk.length
    if (this.#earlyBytes >= maxEarlyBytes) this.socket.pause()
  }

  readonly #leave = (): void => {
    this.socket.destroy()
  }
}
