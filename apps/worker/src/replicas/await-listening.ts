import { isEngineError, listensBeyondLoopback, type Listener } from '@berth/engine'
import { setTimeout as delay } from 'node:timers/promises'
import { tryConnect } from './connect-probe.ts'
import { reachableAddress } from './own-address.ts'
import type { Failure, ReplicaHost } from './replica-deps.ts'

export type ListeningTarget = {
  address: string
  hostPort: number
  containerPort: number
  sandboxId: string
  /** Default 10 s; Infinity for an app whose startup probe says how long it may take. */
  settledElsewhereMs?: number
}

/** The app listens on other ports only, unchanged for this long: it will not come to the right one. */
const defaultSettledElsewhereMs = 10_000
const connectTimeoutMs = 1_000
const ownAddressTimeoutMs = 250
/** Where connects tell, for the ports that the app listens on instead. */
const askInsideAfterMs = 1_000

/**
 * Waits until the app listens on its port. On an honest node the first connect to the published port that succeeds
 * is the proof. Behind Docker's userland proxy every connect succeeds, so there the container's own address is
 * tried on a local engine, and the sandbox is asked which sockets listen. Null when the signal ended the wait;
 * a failure when the app has settled on other ports.
 */
export async function awaitListening(
  host: ReplicaHost,
  target: ListeningTarget,
  signal: AbortSignal,
): Promise<'listening' | Failure | null> {
  const found = new AbortController()
  const ended = AbortSignal.any([signal, found.signal])
  const place = await connectablePlace(host, target)
  const ways = [watchSockets(host, target, place !== null, ended)]
  if (place !== null) ways.push(connectUntil(place, ended))
  try {
    return await firstAnswer(ways)
  } finally {
    found.abort()
  }
}

type Place = { address: string; port: number; timeoutMs: number }

/** Where a connect tells whether the app listens; null when only the sandbox can tell. */
async function connectablePlace(host: ReplicaHost, target: ListeningTarget): Promise<Place | null> {
  if (host.honestPorts) return { address: target.address, port: target.hostPort, timeoutMs: connectTimeoutMs }
  const address = await reachableAddress(host, target.sandboxId, target.containerPort)
  if (address === null) return null
  return { address, port: target.containerPort, timeoutMs: ownAddressTimeoutMs }
}

/** The first way that knows something; null when none does. A way that throws is left to the others. */
async function firstAnswer(ways: Promise<'listening' | Failure | null>[]) {
  return new Promise<'listening' | Failure | null>((resolve) => {
    let left = ways.length
    for (const way of ways)
      way
        .catch(() => null)
        .then((answer) => {
          left -= 1
          if (answer !== null || left === 0) resolve(answer)
        })
        .catch(() => resolve(null))
  })
}

/**
 * 1 to 2 ms apart, after 200 ms 5 ms, then slower: every millisecond counts only for a quick start. No container is up
 * within the first 40 ms, and on a small machine each try takes from what starts it.
 */
function connectPauseMs(sinceMs: number): number {
  if (sinceMs < 40) return 10
  if (sinceMs < 200) return 1.5
  if (sinceMs < 5_000) return 5
  return sinceMs < 30_000 ? 25 : 100
}

async function connectUntil({ address, port, timeoutMs }: Place, signal: AbortSignal) {
  const startedAt = performance.now()
  while (!signal.aborted) {
    if ((await tryConnect(address, port, timeoutMs)) === 'connected') return 'listening' as const
    await delay(connectPauseMs(performance.now() - startedAt), undefined, { signal }).catch(() => {})
  }
  return null
}

/** Asks inside, seldom where a connect tells as well (`direct`): an exec costs the node tens of milliseconds. */
async function watchSockets(
  host: ReplicaHost,
  target: ListeningTarget,
  direct: boolean,
  signal: AbortSignal,
): Promise<'listening' | Failure | null> {
  const settledMs = target.settledElsewhereMs ?? defaultSettledElsewhereMs
  let elsewhere = { ports: '', sinceMs: performance.now() }
  let pauseMs = direct ? askInsideAfterMs : 20
  while (!signal.aborted) {
    if (direct) await delay(pauseMs, undefined, { signal }).catch(() => {})
    if (signal.aborted) return null
    const listeners = await readListeners(host, target.sandboxId)
    const there = listensBeyondLoopback(listeners, target.containerPort)
    // Where a connect can prove it, one has to: a port that only listens inside helps nobody.
    if (there && !host.honestPorts) return 'listening'
    const ports = there ? '' : describeListeners(listeners)
    if (ports !== elsewhere.ports) elsewhere = { ports, sinceMs: performance.now() }
    if (ports !== '' && performance.now() - elsewhere.sinceMs >= settledMs)
      return notListening(target.containerPort, listeners)
    if (!direct) await delay(pauseMs, undefined, { signal }).catch(() => {})
    pauseMs = Math.min(pauseMs * 1.5, direct ? 2_000 : 500)
  }
  return null
}

async function readListeners(host: ReplicaHost, sandboxId: string): Promise<Listener[]> {
  try {
    return await host.runtime.readListeners(sandboxId)
  } catch (error) {
    if (!isEngineError(error)) throw error
    return []
  }
}

export function notListening(containerPort: number, listeners: readonly Listener[]): Failure {
  const found = describeListeners(listeners)
  return {
    reason: 'NotListening',
    message: `expected :${containerPort}, found ${found === '' ? 'nothing' : found}`,
  }
}

function describeListeners(listeners: readonly Listener[]): string {
  return listeners
    .filter(({ address }) => address !== '127.0.0.11')
    .map(({ address, port }) => `${address.includes(':') ? `[${address}]` : address}:${port}`)
    .toSorted()
    .join(', ')
}
