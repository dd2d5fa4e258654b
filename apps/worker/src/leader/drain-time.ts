import type { ReplicaView } from './world-model.ts'

const maxDrainMs = 600_000
const leastDrainMs = 10_000

/**
 * How long a replica's requests may take to end, in ms. A leader that finds it out of the routes already goes on with the
 * time of the one before, and leaves a little in any case.
 */
export function drainMs({ serving, drainingAt }: ReplicaView, timeoutSeconds: number): number {
  const allMs = Math.min(timeoutSeconds * 1000, maxDrainMs)
  const goneMs = serving || drainingAt === null ? 0 : Math.max(0, Date.now() - drainingAt.getTime())
  return Math.min(allMs, Math.max(leastDrainMs, allMs - goneMs))
}
