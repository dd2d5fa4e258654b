/**
 * Picks one target by weight. `random` is in [0, 1). Weights need not add up to 100; a target of weight 0 is never
 * picked. Undefined when no target has a weight.
 */
export function pickByWeight<Target extends { percent: number }>(
  targets: readonly Target[],
  random: number,
): Target | undefined {
  const total = targets.reduce((sum, target) => sum + Math.max(0, target.percent), 0)
  let left = random * total
  let last: Target | undefined
  for (const target of targets) {
    if (target.percent <= 0) continue
    last = target
    left -= target.percent
    if (left < 0) return target
  }
  // Rounding may leave a hair behind the last weight.
  return last
}
