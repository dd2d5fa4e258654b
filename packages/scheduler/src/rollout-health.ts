/** Requests that a revision has answered in some time, and how many of them it failed. */
export type Answers = { requests: number; failed: number }

/** So many ends within the window are a loop. */
export const crashLoopEnds = 3
export const crashLoopWindowMs = 60_000
/** Fewer requests than this say nothing, of either revision. */
const leastRequests = 20
/** The revision before does clearly better when its failed share is at most this part of the new one's. */
const clearlyBetter = 0.5

/** Whether apps of a revision end again and again: `ends` in ms of the clock of `now`, in any order. */
export function isCrashLoop(ends: readonly number[], now: number): boolean {
  return ends.filter((at) => at > now - crashLoopWindowMs && at <= now).length >= crashLoopEnds
}

/**
 * Whether the new revision fails more than `maxErrorPercent` of its requests while the one before, in the same time,
 * does clearly better. Without enough requests to both nobody can tell: then it does not.
 *
 * Example: 12 of 20 failed (60 %, above 50 %); before, 6 of 20 (30 %) are clearly better, 7 of 20 are not.
 */
export function failsTooMuch(next: Answers, previous: Answers, maxErrorPercent: number): boolean {
  if (!tellsEnough(next) || !tellsEnough(previous)) return false
  const share = next.failed / next.requests
  if (share * 100 <= maxErrorPercent) return false
  return previous.failed / previous.requests <= share * clearlyBetter
}

/** Whether there are enough to tell anything from. */
export function tellsEnough({ requests }: Answers): boolean {
  return requests >= leastRequests
}
