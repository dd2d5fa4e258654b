import { Transform } from 'node:stream'

/** Passes bytes on and tells that they move. */
export class Watched extends Transform {
  readonly #onBytes: (chunk: Buffer) => void

  constructor(onBytes: (chunk: Buffer) => void) {
    super()
    this.#onBytes = onBytes
  }

  override _transform(
    chunk: Buffer,
    _encoding: BufferEncoding,
    done: (error: null, chunk: Buffer) => void,
  ): void {
    this.#onBytes(chunk)
    done(null, chunk)
  }
}
