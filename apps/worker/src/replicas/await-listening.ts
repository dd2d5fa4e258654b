import { isEngineError, listensBeyondLoopback, type Listener } from '@berth/engine'
import { setTimeout as delay } from 'node:timers/promises'
import { tryConnect } from './connect-probe.ts'
import type { Failure, ReplicaHost } from './replica-deps.ts'

export type ListeningTarget = {
  address: string
  hostPort: number
  containerPort: number
  sandboxId: string
}

/** The app listens on other ports only, unchanged for this long: it will not come to the right one. */
const settledElsewhereMs = 10_000
const connectTimeoutMs = 1_000
const ownAddressTimeoutMs = 250
/** After this long, ask inside as well: the own address may lead somewhere else. */
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
  const settled = new AbortController()
  const ended = AbortSignal.any([signal, settled.signal])
  const ways = [watchSockets(host, target, ended)]
  if (host.honestPorts) ways.push(connectUntil(target.address, target.hostPort, connectTimeoutMs, ended))
  else if (host.runtime.endpoint.kind === 'unix') ways.push(connectToOwnAddress(host, target, ended))
  try {
    return await firstAnswer(ways)
  } finally {
    settled.abort()
  }
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

/** 1 to 2 ms apart for the first 200 ms, then 5 ms, then slower: every millisecond counts only for a quick start. */
function connectPauseMs(sinceMs: number): number {
  if (sinceMs < 200) return 1.5
  if (sinceMs < 5_000) return 5
  return sinceMs < 30_000 ? 25 : 100
}

async function connectUntil(address: string, port: number, timeoutMs: number, signal: AbortSignal) {
  const startedAt = performance.now()
  while (!signal.aborted) {
    if ((await tryConnect(address, port, timeoutMs)) === 'connected') return 'listening' as const
    await delay(connectPauseMs(performance.now() - startedAt), undefined, { signal }).catch(() => {})
  }
  return null
}

async function connectToOwnAddress(host: ReplicaHost, target: ListeningTarget, signal: AbortSignal) {
  const address = await host.runtime.networkAddressOf(target.sandboxId)
  if (address === null) return null
  // An engine in a network namespace of its own is local, its containers are not: then the sandbox alone tells.
  if ((await tryConnect(address, target.containerPort, ownAddressTimeoutMs)) === 'unreachable') return null
  return connectUntil(address, target.containerPort, ownAddressTimeoutMs, signal)
}

async function watchSockets(
  host: ReplicaHost,
  target: ListeningTarget,
  signal: AbortSignal,
): Promise<'listening' | Failure | null> {
  const direct = host.honestPorts || host.runtime.endpoint.kind === 'unix'
  const startedAt = performance.now()
  let elsewhere = { ports: '', sinceMs: startedAt }
  let pauseMs = direct ? askInsideAfterMs : 20
  while (!signal.aborted) {
    if (direct) await delay(pauseMs, undefined, { signal }).catch(() => {})
    if (signal.aborted) return null
    const listeners = await readListeners(host, target.sandboxId)
    if (listensBeyondLoopback(listeners, target.containerPort)) return 'listening'
    const ports = describeListeners(listeners)
    if (ports !== elsewhere.ports) elsewhere = { ports, sinceMs: performance.now() }
    if (ports !== '' && performance.now() - elsewhere.sinceMs >= settledElsewhereMs)
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
    message: `expected the app to listen on :${containerPort}, found ${found === '' ? 'nothing' : found}`,
  }
}

function describeListeners(listeners: readonly Listener[]): string {
  return listeners
    .filter(({ address }) => address !== '127.0.0.11')
    .map(({ address, port }) => `${address.includes(':') ? `[${address}]` : address}:${port}`)
    .toSorted()
    .join(', ')
}
