import { connect } from 'node:net'

/** `refused`: the machine answers, nothing listens. `unreachable`: no answer in time, or no route. */
export type ConnectResult = 'connected' | 'refused' | 'unreachable'

/** One TCP connect, closed at once. Never throws. */
export async function tryConnect(address: string, port: number, timeoutMs: number): Promise<ConnectResult> {
  return new Promise((resolve) => {
    const socket = connect({ host: address, port, noDelay: true })
    const end = (result: ConnectResult) => {
      socket.destroy()
      resolve(result)
    }
    socket.setTimeout(timeoutMs, () => end('unreachable'))
    socket.once('connect', () => end('connected'))
    socket.once('error', (error: NodeJS.ErrnoException) =>
      end(error.code === 'ECONNREFUSED' || error.code === 'ECONNRESET' ? 'refused' : 'unreachable'),
    )
  })
}
