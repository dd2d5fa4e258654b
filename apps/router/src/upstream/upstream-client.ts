import type { ReplicaRoute } from '@berth/contracts'
import { openConnectionPool } from './connection-pool.ts'
import type { Upstream } from './upstream.ts'

/** own: Berth's client. undici: the reference mode, which the own one is held against. */
export const upstreamClients = ['own', 'undici'] as const
export type UpstreamClient = (typeof upstreamClients)[number]

/** Opens the connections to a replica that may have `concurrency` requests, 0 for as many as come. */
export type OpenUpstream = (route: ReplicaRoute, concurrency: number) => Upstream

/** The reference costs memory and time at the start, so it is loaded only where it was chosen. */
export async function loadUpstreamClient(client: UpstreamClient): Promise<OpenUpstream> {
  if (client === 'own') return openConnectionPool
  const { openUndiciPool } = await import('./undici/undici-pool.ts')
  return openUndiciPool
}
