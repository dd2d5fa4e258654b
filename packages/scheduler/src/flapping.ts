const answersAfterLosses = [2, 2, 2, 10, 30] as const
const mostAnswers = 60

/** Losses that lie further back say nothing about the link any more. */
export const lossMemoryMs = 5 * 60_000

/**
 * How many pings in a row, one a second, a node has to answer before it counts as ready again, by how often it was lost
 * within `lossMemoryMs`. A restart or two are forgiven; a link that comes and goes has to hold for longer each time,
 * so that replicas are not moved with every change. Where no other node could take over, two always do.
 */
export function answersUntilReady({ losses, alone }: { losses: number; alone: boolean }): number {
  return alone ? answersAfterLosses[0] : (answersAfterLosses[losses] ?? mostAnswers)
}
