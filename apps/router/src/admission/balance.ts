import type { Replica } from './replica.ts'

/** Chooses who takes the next request, undefined when nobody has a free slot. */
export type Balance = (replicas: Iterable<Replica>, now: number) => Replica | undefined

/**
 * Last in, first out for concurrency 1 to 3, so that the tail goes idle and can freeze; exact least in-flight
 * above and for unlimited concurrency.
 */
export function balanceFor(concurrency: number): Balance {
  return concurrency >= 1 && concurrency <= maxPackedConcurrency ? lastUsed : leastInFlight
}

/** Up to here a replica is packed, and keeps its slot while it computes for a client that went away. */
export const maxPackedConcurrency = 3

function lastUsed(replicas: Iterable<Replica>, now: number): Replica | undefined {
  let best: Replica | undefined
  for (const replica of replicas)
    if (replica.hasFreeSlot(now) && (!best || replica.lastUse > best.lastUse)) best = replica
  return best
}

function leastInFlight(replicas: Iterable<Replica>, now: number): Replica | undefined {
  let best: Replica | undefined
  for (const replica of replicas)
    if (replica.hasFreeSlot(now) && (!best || replica.inFlight < best.inFlight)) best = replica
  return best
}
