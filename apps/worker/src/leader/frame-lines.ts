import type { Socket } from 'node:net'

const maxFrameBytes = 8 * 1024 * 1024

/**
 * Reads one JSON object per line from a socket. A line over 8 MiB or one that is not JSON ends the connection:
 * both ends are ours, so it can only be a fault.
 */
export function readFrames(socket: Socket, onFrame: (frame: unknown) => void): void {
  let pending = ''
  socket.setEncoding('utf8')
  socket.on('data', (chunk: string) => {
    pending += chunk
    if (pending.length > maxFrameBytes) {
      socket.destroy(new Error('frame too long'))
      return
    }
    let end = pending.indexOf('\n')
    while (end !== -1 && !socket.destroyed) {
      const line = pending.slice(0, end)
      pending = pending.slice(end + 1)
      try {
        onFrame(JSON.parse(line))
      } catch (error) {
        socket.destroy(error instanceof Error ? error : new Error(String(error)))
        return
      }
      end = pending.indexOf('\n')
    }
  })
}

export function writeFrame(socket: Socket, frame: unknown): void {
  if (!socket.destroyed && socket.writable) socket.write(`${JSON.stringify(frame)}\n`)
}
