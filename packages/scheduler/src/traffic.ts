/** A share of a service's traffic. Percents need not sum to 100: they are taken as weights. */
export type TrafficShare = { revision: string; percent: number }

/** The share that a request falls to; `random` is in [0, 1). Undefined when all percents are 0. */
export function shareTraffic<Share extends { percent: number }>(
  shares: readonly Share[],
  random: number,
): Share | undefined {
  const open = shares.filter(({ percent }) => percent > 0)
  let left = random * open.reduce((sum, { percent }) => sum + percent, 0)
  for (const share of open) {
    left -= share.percent
    if (left < 0) return share
  }
  // Rounding may leave a hair over; it belongs to the last one that takes traffic.
  return open.at(-1)
}

/**
 * Shares `minScale` out by traffic. The parts sum to `minScale` unless no revision has traffic, and a
 * revision with 0 % has 0. Seat by seat to the highest percent / (2 x seats + 1) (Webster's method), because a
 * higher `minScale` then never takes a replica away from anyone, as rounding remainders would.
 *
 * Example: 3 over 80 % and 20 %: 80 against 20, then 27 against 20, then 16 against 20: 2 and 1.
 */
export function shareMinScale(minScale: number, traffic: readonly TrafficShare[]): Map<string, number> {
  const percents = new Map<string, number>()
  for (const { revision, percent } of traffic)
    percents.set(revision, (percents.get(revision) ?? 0) + Math.max(0, percent))

  const seats = new Map([...percents.keys()].map((revision) => [revision, 0]))
  for (let given = 0; given < minScale; given += 1) {
    const next = nextSeat(percents, seats)
    if (next === undefined) break
    seats.set(next, (seats.get(next) ?? 0) + 1)
  }
  return seats
}

function nextSeat(
  percents: ReadonlyMap<string, number>,
  seats: ReadonlyMap<string, number>,
): string | undefined {
  let best: { revision: string; claim: number; percent: number } | undefined
  for (const [revision, percent] of percents) {
    if (percent === 0) continue
    const claim = percent / (2 * (seats.get(revision) ?? 0) + 1)
    const candidate = { revision, claim, percent }
    if (best === undefined || outranks(candidate, best)) best = candidate
  }
  return best?.revision
}

type Claim = { revision: string; claim: number; percent: number }

function outranks(a: Claim, b: Claim): boolean {
  if (a.claim !== b.claim) return a.claim > b.claim
  if (a.percent !== b.percent) return a.percent > b.percent
  return a.revision < b.revision
}
