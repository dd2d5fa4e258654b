/*
 * Where bytes of replicas arrive. All connections read into the same piece of memory, one after the other, so that a
 * small answer costs none of its own; what is kept beyond the read has to be copied out of it. A connection that brings
 * full pieces reads into a piece of its own instead, which is handed on as it is, and used again unless somebody keeps it.
 */

const sharedBytes = 64 * 1024
const ownBytes = 128 * 1024
/** From here on the next read is taken for large as well. */
const largeReadBytes = 16 * 1024
const shared = Buffer.allocUnsafeSlow(sharedBytes)

/** What is being read just now, and whether somebody keeps a part of it. Reads are looked at one after the other. */
let current: ArrayBufferLike | undefined
let isKept = false

/** Where the reads of one connection go. */
export class ReadBuffer {
  #own: Buffer | undefined

  /** For the next read, behind one of `lastBytes`. */
  next(lastBytes: number): Buffer {
    if (lastBytes < largeReadBytes) {
      this.#own = undefined
      return shared
    }
    return (this.#own ??= Buffer.allocUnsafeSlow(ownBytes))
  }

  /** Calls `look` with what was read; who keeps any of it beyond that says so with `toKeep`. */
  read(chunk: Buffer, look: (chunk: Buffer) => void): void {
    current = chunk.buffer
    isKept = false
    look(chunk)
    if (isKept) this.#own = undefined
    current = undefined
  }
}

/** `chunk` in memory that no later read overwrites. */
export function toKeep(chunk: Buffer): Buffer {
  if (isShared(chunk)) return Buffer.from(chunk)
  if (chunk.buffer === current) isKept = true
  return chunk
}

/** Whatever keeps it needs a copy. */
export function isShared(chunk: Buffer): boolean {
  return chunk.buffer === shared.buffer
}
