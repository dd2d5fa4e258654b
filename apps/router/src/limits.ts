/*
 * What clients may ask of the edge. Each can be set by an environment variable; `parseConfig` refuses what is outside of
 * its range. Where 0 is allowed it switches the limit off.
 */

export type EdgeLimits = Readonly<{
  /** Of a request's head, its target included. */
  maxHeaderBytes: number
  maxHeaders: number
  maxUriBytes: number
  /** From the first byte of a head, or from the begin of the connection, to the end of the head. */
  headSeconds: number
  /** From the end of an answer to the first byte of the next request. */
  idleSeconds: number
  maxConnections: number
  /** From one address, or one /64 of IPv6; trusted proxies may have more. */
  maxConnectionsPerClient: number
  /** In bytes per second, of a body that somebody waits for. */
  minBodyRate: number
  /** A client that takes nothing of its answer for so long is cut off. */
  stallSeconds: number
  /** A WebSocket on which nobody says anything is asked to close. */
  webSocketIdleSeconds: number
  /** Requests that may wait for one revision. */
  queueLimit: number
}>

type Limit = { variable: string; standard: number; least: number; most: number }

const edgeLimits = {
  maxHeaderBytes: limit('BERTH_ROUTER_MAX_HEADER_BYTES', 16_384, 1024, 65_536),
  maxHeaders: limit('BERTH_ROUTER_MAX_HEADERS', 100, 10, 1000),
  maxUriBytes: limit('BERTH_ROUTER_MAX_URI_BYTES', 8192, 256, 65_536),
  headSeconds: limit('BERTH_ROUTER_HEADER_SECONDS', 10, 1, 300),
  idleSeconds: limit('BERTH_ROUTER_IDLE_SECONDS', 75, 1, 3600),
  maxConnections: limit('BERTH_ROUTER_MAX_CONNECTIONS', 16_384, 1, 1_000_000),
  maxConnectionsPerClient: limit('BERTH_ROUTER_MAX_CONNECTIONS_PER_CLIENT', 4096, 1, 1_000_000),
  minBodyRate: limit('BERTH_ROUTER_MIN_BODY_RATE', 240, 0, 1_000_000),
  stallSeconds: limit('BERTH_ROUTER_STALL_SECONDS', 30, 0, 3600),
  webSocketIdleSeconds: limit('BERTH_ROUTER_WEBSOCKET_IDLE_SECONDS', 0, 0, 86_400),
  queueLimit: limit('BERTH_ROUTER_QUEUE_LIMIT', 10_000, 1, 1_000_000),
} as const satisfies Record<keyof EdgeLimits, Limit>

export const standardLimits = limitsFrom(({ standard }) => standard)

/** The limits as `read` finds each. */
export function limitsFrom(read: (limit: Limit) => number): EdgeLimits {
  const entries = Object.entries(edgeLimits).map(([name, limit]) => [name, read(limit)])
  return Object.fromEntries(entries) as EdgeLimits
}

function limit(variable: string, standard: number, least: number, most: number): Limit {
  return { variable, standard, least, most }
}
