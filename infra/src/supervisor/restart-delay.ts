const firstRestartDelayMs = 200
const longestRestartDelayMs = 5000
/** A process that ran this long was fine: its next death counts as the first. */
const healthyAfterMs = 30_000

/**
 * How long to wait before a dead process is started again. `deaths` counts those in a row, the last included:
 * 200, 400, 800, 1600, 3200, 5000, 5000, ... ms.
 */
export function restartDelayMs(deaths: number): number {
  const doublings = Math.min(Math.max(deaths - 1, 0), 10)
  return Math.min(firstRestartDelayMs * 2 ** doublings, longestRestartDelayMs)
}

/** Deaths in a row after one more, of a process that had run for `ranMs`. */
export function countDeaths(before: number, ranMs: number): number {
  return ranMs >= healthyAfterMs ? 1 : before + 1
}
