export type HoldDecision = { hold: false } | { hold: true; reason: string }

const minNodesForHold = 3
const lossWindowMs = 30_000

/**
 * Whether rescheduling stops: with three nodes or more, over half of them lost within the window points to
 * the leader's own network and not to the nodes. With two the survivor takes over.
 * `lost` counts those of `nodes` that went down within the last `windowMs` (30 s).
 */
export function decideHold(loss: { nodes: number; lost: number; windowMs?: number }): HoldDecision {
  const { nodes, lost, windowMs = lossWindowMs } = loss
  if (nodes < minNodesForHold || lost * 2 <= nodes) return { hold: false }
  return { hold: true, reason: `${lost} of ${nodes} nodes were lost within ${windowMs / 1000} s` }
}
