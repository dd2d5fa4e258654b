import type { Duplex } from 'node:stream'
import type { UpgradeOffer } from './upgrade-offer.ts'

/**
 * Answers 101 and joins both sockets until either ends. `onClosed` is called once, when the replica's side is
 * closed: until then the tunnel counts as in flight.
 */
export function joinTunnel(
  client: UpgradeOffer,
  headers: readonly string[],
  replica: Duplex,
  onClosed: () => void,
): void {
  const { socket } = client
  const early = client.accept()
  const lines = ['HTTP/1.1 101 Switching Protocols', 'Connection: Upgrade', 'Upgrade: websocket']
  for (let i = 0; i + 1 < headers.length; i += 2) lines.push(`${headers[i]}: ${headers[i + 1]}`)
  socket.write(`${lines.join('\r\n')}\r\n\r\n`, 'latin1')
  if (early.length > 0) replica.write(early)
  socket.setTimeout(0)
  socket.on('error', () => replica.destroy())
  socket.once('close', () => replica.destroy())
  replica.on('error', () => socket.destroy())
  replica.once('close', () => {
    socket.destroySoon()
    onClosed()
  })
  socket.pipe(replica)
  replica.pipe(socket)
  if (socket.destroyed) replica.destroy()
}
