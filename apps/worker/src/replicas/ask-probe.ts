import type { ProbeTemplate } from '@berth/contracts'
import { isEngineError, listensBeyondLoopback } from '@berth/engine'
import { askGrpc } from './ask-grpc.ts'
import { askHttp } from './ask-http.ts'
import { tryConnect } from './connect-probe.ts'
import { reachableAddress } from './own-address.ts'
import type { ReplicaHost } from './replica-deps.ts'

/** Where the replica's own port is reached, which one it is inside, and where all the others are. */
export type ProbeTarget = { address: string; hostPort: number; containerPort: number; sandboxId: string }

export type ProbeResult = { ok: true } | { ok: false; message: string }

type Check = ProbeTemplate['check']
type Place = { kind: 'socket'; address: string; port: number } | { kind: 'inside' } | { kind: 'nowhere' }

/**
 * The app's port is asked where it is published. Any other one, and a connect that a proxy would answer for the app, at
 * the container's own address on a local engine; elsewhere the sandbox can tell which ports are open, and no more.
 */
async function placeOf(host: ReplicaHost, check: Check, target: ProbeTarget): Promise<Place> {
  const { port = target.containerPort } = check
  if (port === target.containerPort && (host.honestPorts || check.kind !== 'tcpSocket'))
    return { kind: 'socket', address: target.address, port: target.hostPort }
  const address = await reachableAddress(host, target.sandboxId, port)
  if (address !== null) return { kind: 'socket', address, port }
  return { kind: check.kind === 'tcpSocket' ? 'inside' : 'nowhere' }
}

/** Why the node gives nobody an answer to this probe; null when it does. */
export async function whyNotAskable(
  host: ReplicaHost,
  { check }: ProbeTemplate,
  target: ProbeTarget,
): Promise<string | null> {
  const { kind } = await placeOf(host, check, target)
  if (kind !== 'nowhere') return null
  return `a ${check.kind} probe of port ${check.port} needs a node whose containers can be reached from here, and node "${host.name}" publishes port ${target.containerPort} only`
}

/** One question. Null when it could not be put, which says nothing about the app. */
export async function askProbe(
  host: ReplicaHost,
  probe: ProbeTemplate,
  target: ProbeTarget,
): Promise<ProbeResult | null> {
  const { check } = probe
  const timeoutMs = probe.timeoutSeconds * 1000
  const place = await placeOf(host, check, target)
  if (place.kind === 'nowhere') return null
  const { port = target.containerPort } = check
  if (place.kind === 'inside') return askInside(host, target.sandboxId, port)
  if (check.kind === 'httpGet') return askHttp(check, place, timeoutMs)
  if (check.kind === 'grpc') return askGrpc(check.service ?? '', place, timeoutMs)
  const result = await tryConnect(place.address, place.port, timeoutMs)
  return result === 'connected' ? { ok: true } : notConnected(port, result)
}

/** The engine's own deadline holds here: a slow engine is not a slow app. */
async function askInside(host: ReplicaHost, sandboxId: string, port: number): Promise<ProbeResult | null> {
  try {
    const listeners = await host.runtime.readListeners(sandboxId)
    return listensBeyondLoopback(listeners, port) ? { ok: true } : notConnected(port, 'refused')
  } catch (error) {
    if (!isEngineError(error)) throw error
    return null
  }
}

function notConnected(port: number, how: 'refused' | 'unreachable'): ProbeResult {
  return { ok: false, message: `a connection to port ${port} is ${how}` }
}
