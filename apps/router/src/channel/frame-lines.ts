import type { Socket } from 'node:net'

/** A snapshot of thousands of services is some megabytes; more than this is a fault. */
const maxLineChars = 64 * 1024 * 1024

/** Reads one JSON object per line. A line that is not JSON or has no end destroys the socket. */
export function readLines(socket: Socket, onObject: (object: unknown) => void): void {
  let parts: string[] = []
  let chars = 0
  socket.setEncoding('utf8')
  socket.on('data', (text: string) => {
    const lines = text.split('\n')
    const rest = lines.pop() ?? ''
    for (const line of lines) {
      parts.push(line)
      const whole = parts.join('')
      parts = []
      chars = 0
      try {
        onObject(JSON.parse(whole))
      } catch (error) {
        socket.destroy(error instanceof Error ? error : new Error(String(error)))
        return
      }
    }
    parts.push(rest)
    chars += rest.length
    if (chars > maxLineChars) socket.destroy(new Error('line too long'))
  })
}
