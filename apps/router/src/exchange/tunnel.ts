import type { Duplex } from 'node:stream'
import { FrameGate } from './frame-gate.ts'
import type { UpgradeOffer } from './upgrade-offer.ts'

/** Both ends of a WebSocket get this long to close it once they were asked to. */
const leaveMs = 60_000

export type Tunnel = {
  /**
   * Asks both ends to close: each gets a close frame 1001 behind the frame that is under way to it, and nothing after
   * that. What is left after 60 s is destroyed.
   */
  goAway(): void
}

/**
 * Answers 101 and joins both sockets until either ends. `onClosed` is called once, when the replica's side is
 * closed: until then the tunnel counts as in flight. One on which nothing is said for `idleSeconds` is asked to close;
 * 0 is never.
 */
export function joinTunnel(
  client: UpgradeOffer,
  headers: readonly string[],
  replica: Duplex,
  idleSeconds: number,
  onClosed: () => void,
): Tunnel {
  const { socket } = client
  const toReplica = new FrameGate({ masked: true })
  const toClient = new FrameGate({ masked: false })
  let lastCall: NodeJS.Timeout | undefined
  const lines = ['HTTP/1.1 101 Switching Protocols', 'Connection: Upgrade', 'Upgrade: websocket']
  for (let i = 0; i + 1 < headers.length; i += 2) lines.push(`${headers[i]}: ${headers[i + 1]}`)
  socket.write(`${lines.join('\r\n')}\r\n\r\n`, 'latin1')
  send(replica, toReplica.pass(client.accept()))
  socket.on('error', () => replica.destroy())
  socket.once('close', () => replica.destroy())
  replica.on('error', () => socket.destroy())
  replica.once('close', () => {
    clearTimeout(lastCall)
    socket.destroySoon()
    onClosed()
  })
  carry(socket, toReplica, replica)
  carry(replica, toClient, socket)
  if (socket.destroyed) replica.destroy()
  function goAway(): void {
    if (lastCall || replica.closed) return
    lastCall = setTimeout(() => replica.destroy(), leaveMs)
    send(socket, toClient.close())
    send(replica, toReplica.close())
  }
  socket.setTimeout(idleSeconds * 1000, goAway)
  return { goAway }
}

/** Like `pipe`, but through a gate, and with nothing in between that could hold bytes back when an end closes. */
function carry(from: Duplex, gate: FrameGate, to: Duplex): void {
  from.on('data', (chunk: Buffer) => {
    if (!send(to, gate.pass(chunk))) from.pause()
  })
  from.once('end', () => to.end())
  to.on('drain', () => from.resume())
  from.resume()
}

/** Returns false when `to` cannot take more for now. */
function send(to: Duplex, bytes: Buffer): boolean {
  return bytes.length === 0 || !to.writable || to.write(bytes)
}
