import { connect } from 'node:net'

/** Everything that comes back for these bytes until the connection is closed. */
export function sendRaw(port: number, bytes: string | Buffer): Promise<string> {
  return new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1', () => socket.write(bytes))
    let answer = ''
    socket.on('data', (data) => (answer += data.toString()))
    // A reset shows in what did not arrive.
    socket.on('error', () => {})
    socket.on('close', () => resolve(answer))
  })
}
