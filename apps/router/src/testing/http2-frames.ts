import { connect, type Socket } from 'node:net'

/*
 * Frames of HTTP/2 written by hand, for what no client library would write. Header blocks are HPACK literals without
 * indexing and without Huffman coding (RFC 7541, 6.2.2), so that every byte of a name or value arrives as it is.
 */

export const frameTypes = {
  data: 0,
  headers: 1,
  resetStream: 3,
  settings: 4,
  ping: 6,
  goaway: 7,
  windowUpdate: 8,
  continuation: 9,
} as const
export const flags = { endStream: 1, acknowledge: 1, endHeaders: 4 } as const

export type Frame = { type: number; flags: number; stream: number; payload: Buffer }

export function frame(type: number, flag: number, stream: number, payload: Buffer = Buffer.alloc(0)): Buffer {
  const head = Buffer.alloc(9)
  head.writeUIntBE(payload.length, 0, 3)
  head[3] = type
  head[4] = flag
  head.writeUInt32BE(stream, 5)
  return Buffer.concat([head, payload])
}

export function headerBlock(fields: readonly (readonly [string, string])[]): Buffer {
  return Buffer.concat(fields.flatMap(([name, value]) => [Buffer.from([0]), literal(name), literal(value)]))
}

/** A string with its length as an integer with a prefix of 7 bits (RFC 7541, 5.1 and 5.2). */
function literal(text: string): Buffer {
  const bytes = Buffer.from(text, 'latin1')
  const length: number[] = []
  if (bytes.length < 127) length.push(bytes.length)
  else {
    length.push(127)
    let rest = bytes.length - 127
    for (; rest >= 128; rest = Math.floor(rest / 128)) length.push((rest % 128) + 128)
    length.push(rest)
  }
  return Buffer.concat([Buffer.from(length), bytes])
}

/** A connection that has said the preface and its (empty) settings. */
export class FrameClient {
  readonly socket: Socket
  readonly received: Frame[] = []
  isClosed = false
  #bytes: Buffer = Buffer.alloc(0)

  constructor(port: number) {
    this.socket = connect(port, '127.0.0.1')
    this.socket.on('data', (chunk: Buffer) => this.#read(chunk)).on('error', () => undefined)
    this.socket.on('close', () => {
      this.isClosed = true
    })
    this.write(Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n'), frame(frameTypes.settings, 0, 0))
  }

  write(...frames: Buffer[]): boolean {
    return this.socket.write(Buffer.concat(frames))
  }

  /** The first frame of a type, on a stream. */
  find(type: number, stream: number): Frame | undefined {
    return this.received.find((frame) => frame.type === type && frame.stream === stream)
  }

  /** The code with which the server has reset a stream or, without one, ended the connection. */
  error(stream: number): number | undefined {
    const reset = this.find(frameTypes.resetStream, stream)
    if (reset) return reset.payload.readUInt32BE(0)
    return this.find(frameTypes.goaway, 0)?.payload.readUInt32BE(4)
  }

  #read(chunk: Buffer): void {
    this.#bytes = Buffer.concat([this.#bytes, chunk])
    while (this.#bytes.length >= 9) {
      const length = this.#bytes.readUIntBE(0, 3)
      if (this.#bytes.length < 9 + length) return
      const [type = 0, flag = 0] = this.#bytes.subarray(3, 5)
      const stream = this.#bytes.readUInt32BE(5)
      this.received.push({ type, flags: flag, stream, payload: this.#bytes.subarray(9, 9 + length) })
      this.#bytes = this.#bytes.subarray(9 + length)
    }
  }
}
