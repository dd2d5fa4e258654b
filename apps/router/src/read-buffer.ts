/*
 * Where bytes of replicas arrive. All connections read into the same piece of memory, one after the other, so that a
 * small answer costs none of its own; what is kept beyond the read has to be copied out of it. A connection that brings
 * full pieces reads into pieces of its own instead: those are handed on as they are.
 */

const bytes = 64 * 1024
/** From here on the next read is taken for large as well. */
const largeReadBytes = 16 * 1024
const shared = Buffer.allocUnsafeSlow(bytes)

/** Where the next read of a connection goes, after one of `lastBytes`. */
export function readBufferAfter(lastBytes: number): Buffer {
  return lastBytes < largeReadBytes ? shared : Buffer.allocUnsafeSlow(bytes)
}

/** `chunk` in memory that no later read overwrites. */
export function toKeep(chunk: Buffer): Buffer {
  return chunk.buffer === shared.buffer ? Buffer.from(chunk) : chunk
}
