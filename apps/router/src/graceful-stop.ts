import type { Server } from 'node:http'
import { stopAccepting } from './edge-server.ts'
import type { Exchange } from './exchange/exchange.ts'

/** Long enough for a client that has just taken an idle connection for its next request. */
const idleGraceMs = 2000
const tunnelGraceMs = 60_000

export type StopOptions = {
  servers: readonly Server[]
  /** The exchanges under way; the set is live. */
  exchanges: ReadonlySet<Exchange>
  /** Requests still under way after this are broken off. */
  drainMs: number
}

/**
 * Stops without losing a request: the listener closes (whoever shares the accept queue goes on), every answer closes
 * its connection, idle connections are closed two seconds later, and the rest is waited for. Resolves with the
 * number of requests that had to be broken off.
 */
export async function stopServing({ servers, exchanges, drainMs }: StopOptions): Promise<number> {
  for (const server of servers) stopAccepting(server)
  const startedAt = performance.now()
  const elapsed = () => performance.now() - startedAt
  await waitUntil(() => elapsed() >= Math.min(idleGraceMs, drainMs))
  for (;;) {
    for (const server of servers) server.closeIdleConnections()
    if (exchanges.size === 0) break
    if (elapsed() >= Math.min(tunnelGraceMs, drainMs))
      for (const exchange of exchanges) if (exchange.isTunnel) exchange.breakOff()
    if (elapsed() >= drainMs) break
    await waitUntil(() => exchanges.size === 0 || elapsed() >= drainMs, 1000)
  }
  const brokenOff = exchanges.size
  for (const exchange of exchanges) exchange.breakOff()
  for (const server of servers) server.closeAllConnections()
  return brokenOff
}

/** Looks every 20 ms, for at most `limitMs`. */
async function waitUntil(done: () => boolean, limitMs = Number.POSITIVE_INFINITY): Promise<void> {
  const startedAt = performance.now()
  while (!done() && performance.now() - startedAt < limitMs)
    await new Promise((resolve) => {
      setTimeout(resolve, 20)
    })
}
