import type { Server } from 'node:net'
import type { Connections } from './connections.ts'

/** Long enough for a client that has just taken an idle connection for its next request. */
const idleGraceMs = 2000
const tunnelGraceMs = 60_000
const lookEveryMs = 50

export type StopOptions = {
  servers: readonly Server[]
  connections: Connections
  /** Requests still under way after this are broken off. */
  drainMs: number
  /** Called once no new request is to be expected: idle connections are closed. */
  onLastRequest: () => void
}

/**
 * Stops without losing a request: the listener closes (whoever shares the accept queue goes on), every answer closes
 * its connection, a connection without a request is closed once it has been quiet for two seconds, and the rest is
 * waited for. Resolves with the number of requests that had to be broken off.
 */
export async function stopServing({
  servers,
  connections,
  drainMs,
  onLastRequest,
}: StopOptions): Promise<number> {
  for (const server of servers) server.close()
  const startedAt = performance.now()
  const elapsed = () => performance.now() - startedAt
  let mayCome = true
  while (!connections.isEmpty && elapsed() < drainMs) {
    connections.closeQuiet(idleGraceMs, startedAt)
    if (mayCome && elapsed() >= idleGraceMs) {
      mayCome = false
      onLastRequest()
    }
    if (elapsed() >= tunnelGraceMs) for (const exchange of connections.exchanges) exchange.askTunnelToClose()
    await new Promise((resolve) => {
      setTimeout(resolve, Math.min(lookEveryMs, drainMs))
    })
  }
  const late = [...connections.exchanges]
  for (const exchange of late) exchange.breakOff()
  connections.destroyAll()
  return late.length
}
