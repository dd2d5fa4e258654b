import { randomBytes } from 'node:crypto'

/*
 * One direction of a WebSocket on its way through, RFC 6455 section 5. Nothing is decoded: only where a frame ends is
 * followed, so that a close frame can be put between two frames and never into one.
 *
 * open     everything goes through
 * closing  everything goes through up to the end of the frame that is under way
 * closed   a close frame has gone, ours or the peer's own: ours lets nothing through any more
 */

/** The close code for an endpoint that goes away. */
const goingAway = 1001
const closeOpcode = 8
const nothing = Buffer.alloc(0)

/** Length of a frame's head, as far as its first two bytes tell. */
function headBytes(second: number): number {
  const length = second & 0x7f
  const extended = length === 127 ? 8 : length === 126 ? 2 : 0
  return 2 + extended + (second & 0x80 ? 4 : 0)
}

export class FrameGate {
  readonly #masked: boolean
  readonly #head = Buffer.alloc(14)
  #headFilled = 0
  #payloadLeft = 0
  #state: 'open' | 'closing' | 'closed' = 'open'
  #peerClosed = false

  /** `masked`: the direction towards the server, whose frames are masked. */
  constructor({ masked }: { masked: boolean }) {
    this.#masked = masked
  }

  /** What of `chunk` goes on, with the close frame behind it where that is due. */
  pass(chunk: Buffer): Buffer {
    if (this.#state === 'closed') return this.#peerClosed ? chunk : nothing
    let at = 0
    while (at < chunk.length) {
      at = this.#advance(chunk, at)
      if (this.#state === 'closing' && this.#betweenFrames)
        return Buffer.concat([chunk.subarray(0, at), this.#close()])
    }
    return chunk
  }

  /** Asks for the close frame. Returns it when it can go at once; else it follows the frame that is under way. */
  close(): Buffer {
    if (this.#state !== 'open') return nothing
    this.#state = 'closing'
    return this.#betweenFrames ? this.#close() : nothing
  }

  get #betweenFrames(): boolean {
    return this.#headFilled === 0
  }

  /** Moves over bytes of `chunk` from `at` on, at most to the end of a frame; returns where it stopped. */
  #advance(chunk: Buffer, at: number): number {
    let next = at
    while (next < chunk.length && !this.#headIsWhole) {
      this.#head[this.#headFilled] = chunk[next] ?? 0
      this.#headFilled += 1
      next += 1
      if (this.#headIsWhole) this.#payloadLeft = this.#payloadBytes()
    }
    if (!this.#headIsWhole) return next
    const taken = Math.min(this.#payloadLeft, chunk.length - next)
    this.#payloadLeft -= taken
    if (this.#payloadLeft === 0) this.#endFrame()
    return next + taken
  }

  get #headIsWhole(): boolean {
    return this.#headFilled >= 2 && this.#headFilled === headBytes(this.#head[1] ?? 0)
  }

  #payloadBytes(): number {
    const length = (this.#head[1] ?? 0) & 0x7f
    if (length === 127) return Number(this.#head.readBigUInt64BE(2))
    return length === 126 ? this.#head.readUInt16BE(2) : length
  }

  #endFrame(): void {
    this.#headFilled = 0
    if (((this.#head[0] ?? 0) & 0x0f) !== closeOpcode) return
    // After its own close frame the peer says nothing more, and neither do we in its name.
    this.#peerClosed = true
    this.#state = 'closed'
  }

  #close(): Buffer {
    this.#state = 'closed'
    const frame = Buffer.from([0x80 | closeOpcode, 2, goingAway >> 8, goingAway & 0xff])
    if (!this.#masked) return frame
    const mask = randomBytes(4)
    const payload = frame.subarray(2).map((byte, at) => byte ^ (mask[at] ?? 0))
    return Buffer.concat([Buffer.from([0x80 | closeOpcode, 0x80 | 2]), mask, payload])
  }
}
