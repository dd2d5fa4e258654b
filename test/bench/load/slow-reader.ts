import type { Socket } from 'node:net'

/**
 * Reads `socket` at `bytesPerSecond` and no faster, leaving the rest with the sender; resolves when `count` bytes were
 * read, and throws when it ends before.
 */
export function readSlowly(socket: Socket, bytesPerSecond: number, count: number): Promise<void> {
  return new Promise((resolve, reject) => {
    const startedAt = performance.now()
    let read = 0
    socket.once('close', () => reject(new Error(`closed after ${read} of ${count} bytes`)))
    socket.on('data', (chunk) => {
      read += chunk.length
      if (read >= count) return resolve()
      const aheadMs = (read / bytesPerSecond) * 1000 - (performance.now() - startedAt)
      if (aheadMs < 1) return
      socket.pause()
      setTimeout(() => socket.resume(), aheadMs)
    })
    socket.resume()
  })
}

/** Writes `count` bytes as fast as the other side takes them. */
export function writeAll(socket: Socket, count: number): void {
  const piece = Buffer.alloc(64 * 1024, 'x')
  let left = count
  function write(): void {
    let taken = true
    while (left > 0 && taken) {
      const length = Math.min(left, piece.length)
      left -= length
      taken = socket.write(length === piece.length ? piece : piece.subarray(0, length))
    }
  }
  socket.on('drain', write)
  write()
}
