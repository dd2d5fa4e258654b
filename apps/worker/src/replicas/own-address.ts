import { isEngineError, type ContainerRuntime, type ContainerSummary } from '@berth/engine'
import { tryConnect } from './connect-probe.ts'
import type { ReplicaHost } from './replica-deps.ts'

/*
 * A sandbox keeps its own address for its life, and is never restarted. So an engine is asked for it at most once, and
 * a wake, which may wait for nothing, not at all.
 */

const connectTimeoutMs = 250
/** A connect that took too long on a busy machine is no proof for ever. */
const unreachableForMs = 60_000
/** Ids are never used again, so what is old only takes room. */
const maxRemembered = 10_000

type Known = {
  addresses: Map<string, string>
  /** Whether containers of this engine can be reached at their own addresses from here. */
  reach?: { reachable: boolean; at: number }
}

const memory = new WeakMap<ContainerRuntime, Known>()

function knownOf(runtime: ContainerRuntime): Known {
  const known = memory.get(runtime) ?? { addresses: new Map() }
  memory.set(runtime, known)
  return known
}

function remember(runtime: ContainerRuntime, sandboxId: string, address: string): void {
  const { addresses } = knownOf(runtime)
  if (addresses.size >= maxRemembered) addresses.clear()
  addresses.set(sandboxId, address)
}

/** Takes over what a list tells anyway. */
export function rememberAddresses(runtime: ContainerRuntime, containers: readonly ContainerSummary[]): void {
  for (const { id, address } of containers) if (address !== null) remember(runtime, id, address)
}

/**
 * The sandbox's own address where a connect to it tells something, null on an engine that is elsewhere. An engine in a
 * network namespace of its own is local, its containers are not.
 */
export async function reachableAddress(
  host: ReplicaHost,
  sandboxId: string,
  port: number,
): Promise<string | null> {
  if (host.runtime.endpoint.kind !== 'unix') return null
  const known = knownOf(host.runtime)
  const address = known.addresses.get(sandboxId) ?? (await askFor(host, sandboxId))
  if (address === null) return null
  const { reach } = known
  if (reach?.reachable) return address
  if (reach && performance.now() - reach.at < unreachableForMs) return null
  const reachable = (await tryConnect(address, port, connectTimeoutMs)) !== 'unreachable'
  known.reach = { reachable, at: performance.now() }
  return reachable ? address : null
}

async function askFor(host: ReplicaHost, sandboxId: string): Promise<string | null> {
  try {
    const address = await host.runtime.networkAddressOf(sandboxId)
    if (address !== null) remember(host.runtime, sandboxId, address)
    return address
  } catch (error) {
    if (!isEngineError(error)) throw error
    return null
  }
}
