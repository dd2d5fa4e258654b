/** One of the routers that share a revision's slots. */
export type SlotHolder = {
  router: string
  /** Its requests in flight and queued. */
  need: number
  /** Slots that it may use, by replica; also of replicas that take no requests at the moment. */
  granted: ReadonlyMap<string, number>
  /** It expects no new request: it is to have what it needs and nothing to spare. */
  isStopping?: boolean
}

export type SharedRevision = {
  /** Slots of each replica, at least 1. */
  concurrency: number
  /** Replicas that take requests. */
  replicas: readonly string[]
  /** Slots that nobody may use, by replica: what routers that are gone may still have in flight. */
  charged: ReadonlyMap<string, number>
  holders: readonly SlotHolder[]
}

/**
 * What a router is to have: at least what it has. With `keep` it is asked to get down to so many by itself, but of
 * the replicas in `clear` to as few as it can.
 */
export type SlotShare = { router: string; granted: Map<string, number>; keep: number | null; clear: string[] }

/**
 * Hands out every free slot, and asks routers that have more than their share to give some back while another lacks
 * what it needs. Takes nothing away: only its holder knows which slots are idle. So the slots of a replica that are
 * granted and charged are never more than its concurrency, if they were not before.
 *
 * Where more are out (two routers that served without a leader), all who share that replica are asked to clear it, and
 * get what is idle there anew. The others are shared as if that one were not there: a request that goes on for hours may
 * keep it crowded for as long.
 */
export function shareSlots(revision: SharedRevision): SlotShare[] {
  const { concurrency, charged, holders } = revision
  const left = new Map(
    revision.replicas.map((id) => [id, concurrency - (charged.get(id) ?? 0) - sumOf(holders, id)]),
  )
  const crowded = revision.replicas.filter((id) => (left.get(id) ?? 0) < 0)
  const free = new Map([...left].filter(([, slots]) => slots >= 0))
  const replicas = [...free.keys()]
  const shares = holders.map(({ router, granted }): SlotShare => {
    const clear = crowded.filter((id) => (granted.get(id) ?? 0) > 0)
    return { router, granted: new Map(granted), keep: null, clear }
  })
  const held = (index: number) => heldBy(shares[index]?.granted, replicas)
  const slots = replicas.reduce((sum, id) => sum + Math.max(0, concurrency - (charged.get(id) ?? 0)), 0)
  const isStopping = (index: number) => holders[index]?.isStopping === true
  // What a crowded replica serves needs none of the others.
  const needs = holders.map(({ need, granted }) => Math.max(0, need - heldBy(granted, crowded)))
  const targets = fairShares(
    slots,
    needs,
    holders.map((_, index) => held(index)),
    holders.map((_, index) => !isStopping(index)),
  )
  for (const [index, share] of shares.entries())
    raise(share.granted, free, (targets[index] ?? 0) - held(index))

  const lacks = needs.some((need, index) => held(index) < Math.min(need, targets[index] ?? 0))
  for (const [index, share] of shares.entries()) {
    const target = targets[index] ?? 0
    if ((lacks || isStopping(index)) && held(index) > target) share.keep = target
  }
  return shares
}

/**
 * Parts of `slots` by max-min fairness: everybody gets what it needs up to an equal level, and what nobody needs is
 * shared out equally. Of slots that cannot be divided, those come first who hold the least, so that they go round;
 * of spare ones, those who hold the most, so that nothing moves. Only those who are `lasting` get spare ones, all if
 * nobody is.
 *
 * 10 slots, needs 1, 7, 9: the level is 4.5, so 1, 4 and 5, or 1, 5 and 4.
 */
export function fairShares(
  slots: number,
  needs: readonly number[],
  holds: readonly number[],
  lasting: readonly boolean[] = needs.map(() => true),
): number[] {
  const shares = needs.map(() => 0)
  const hold = (index: number) => holds[index] ?? 0
  const missing = (index: number) => (needs[index] ?? 0) - (shares[index] ?? 0)
  let left = slots
  const give = (index: number, count: number) => {
    shares[index] = (shares[index] ?? 0) + count
    left -= count
  }
  for (;;) {
    const hungry = [...shares.keys()].filter((index) => missing(index) > 0)
    if (hungry.length === 0 || left === 0) break
    const part = Math.floor(left / hungry.length)
    if (part > 0) for (const index of hungry) give(index, Math.min(part, missing(index)))
    else for (const index of hungry.sort((a, b) => hold(a) - hold(b)).slice(0, left)) give(index, 1)
  }
  const staying = [...shares.keys()].filter((index) => lasting[index])
  const mostFirst = (staying.length > 0 ? staying : [...shares.keys()]).sort((a, b) => hold(b) - hold(a))
  const spare = left
  for (const [rank, index] of mostFirst.entries()) {
    const rounded = rank < spare % mostFirst.length ? 1 : 0
    give(index, Math.floor(spare / mostFirst.length) + rounded)
  }
  return shares
}

/** Grants up to `count` free slots in level parts; replicas with few of them come first, others make up for those. */
function raise(granted: Map<string, number>, free: Map<string, number>, count: number): void {
  const roomy = [...free].filter(([, slots]) => slots > 0).sort(([, a], [, b]) => a - b)
  let left = Math.max(0, count)
  for (const [place, [id, slots]] of roomy.entries()) {
    const part = Math.min(slots, Math.floor(left / (roomy.length - place)))
    if (part === 0) continue
    granted.set(id, (granted.get(id) ?? 0) + part)
    free.set(id, slots - part)
    left -= part
  }
}

function sumOf(holders: readonly SlotHolder[], replica: string): number {
  return holders.reduce((sum, { granted }) => sum + (granted.get(replica) ?? 0), 0)
}

function heldBy(granted: ReadonlyMap<string, number> | undefined, replicas: readonly string[]): number {
  return replicas.reduce((sum, id) => sum + (granted?.get(id) ?? 0), 0)
}
