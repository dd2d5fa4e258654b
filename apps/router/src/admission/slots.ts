import type { RevisionSlots, SlotsFrame, SlotsHeld } from '@berth/contracts'

/*
 * Which slots are this router's (docs/decisions/015).
 *
 * waiting  just started: nothing is known yet, so it has none
 * alone    every slot of every replica: the only router, a leader that does not know that slots are shared, or nobody
 *          to ask at the start
 * shared   what the leader has granted, less what was given back
 *
 * waiting and alone become shared by the leader's word, and all become alone by it. Without a leader nothing changes.
 */

export class Slots {
  #mode: 'waiting' | 'alone' | 'shared'
  #epoch = 0
  #number = 0
  readonly #granted = new Map<string, Map<string, number>>()
  readonly #keep = new Map<string, number>()
  /** By revision, to how many slots of single replicas it is to get down. */
  readonly #keepOf = new Map<string, Map<string, number>>()
  #said = 0
  #isStopping = false

  constructor(mode: 'waiting' | 'alone' = 'alone') {
    this.#mode = mode
  }

  get isWaiting(): boolean {
    return this.#mode === 'waiting'
  }

  /** How many requests the replica may have in flight from here; unlimited for a concurrency of 0. */
  limit(revision: string, replica: string, concurrency: number): number {
    if (concurrency === 0) return Infinity
    return this.#mode === 'alone' ? concurrency : (this.#granted.get(revision)?.get(replica) ?? 0)
  }

  /**
   * To how many of the revision's slots it is to get down, but for replicas with a number of their own; undefined when it
   * may keep all that it has.
   */
  keep(revision: string): number | undefined {
    return this.#keep.get(revision)
  }

  /** To how many slots of single replicas it is to get down. */
  keepOf(revision: string): ReadonlyMap<string, number> | undefined {
    return this.#keepOf.get(revision)
  }

  /** No new request is expected: the leader hears so with the next word, and leaves what is needed. */
  stop(): void {
    this.#isStopping = true
  }

  standAlone(): void {
    this.#mode = 'alone'
    this.#granted.clear()
    this.#keep.clear()
    this.#keepOf.clear()
  }

  /**
   * Takes the leader's word; undefined for one that is older than what was heard. `using` is asked for the slots that the
   * router goes on with when it is alone no more, `inUse` for those of a revision that have a request in them: they stay
   * the router's own whatever the leader said before it knew of them. `mustTell`: the leader has to hear what it has now.
   */
  take(
    frame: SlotsFrame,
    using: () => readonly RevisionSlots[],
    inUse: (revision: string) => RevisionSlots['replicas'],
  ): { mustTell: boolean } | undefined {
    const isNewer = frame.epoch === this.#epoch ? frame.number > this.#number : frame.epoch > this.#epoch
    if (!isNewer) return undefined
    let mustTell = frame.shared && (this.#mode === 'alone' || frame.revisions.length === 0)
    this.#epoch = frame.epoch
    this.#number = frame.number
    if (!frame.shared) this.standAlone()
    else if (this.#mode === 'alone') {
      for (const { uid, replicas } of using()) this.#grant(uid, replicas)
      this.#mode = 'shared'
    } else {
      this.#mode = 'shared'
      for (const { uid, replicas, keep } of frame.revisions) {
        this.#grant(uid, replicas)
        mustTell = this.#keepUsed(uid, inUse(uid)) || mustTell
        if (keep === undefined) this.#keep.delete(uid)
        else this.#keep.set(uid, keep)
        const keepOf = replicas.flatMap(({ id, keep }) => (keep === undefined ? [] : [[id, keep] as const]))
        if (keepOf.length === 0) this.#keepOf.delete(uid)
        else this.#keepOf.set(uid, new Map(keepOf))
      }
    }
    return { mustTell }
  }

  giveBack(revision: string, replica: string, count: number): void {
    const granted = this.#granted.get(revision)
    granted?.set(replica, (granted.get(replica) ?? 0) - count)
  }

  /** What it has, of these revisions or of all, as the leader is to hear it: each word is newer than the one before. */
  held(revisions: Iterable<string> = this.#granted.keys()): SlotsHeld {
    const shared = this.#mode !== 'alone'
    this.#said += 1
    return {
      epoch: this.#epoch,
      number: this.#number,
      shared,
      revisions: shared ? [...revisions].map((uid) => this.#heldOf(uid)) : [],
      said: this.#said,
      stopping: this.#isStopping,
    }
  }

  #heldOf(uid: string): RevisionSlots {
    const slots = [...(this.#granted.get(uid) ?? [])].filter(([, count]) => count > 0)
    return { uid, replicas: slots.map(([id, count]) => ({ id, slots: count })) }
  }

  /** Returns whether the leader had granted less than is in use. */
  #keepUsed(uid: string, used: RevisionSlots['replicas']): boolean {
    let raised = false
    for (const { id, slots } of used) {
      const granted = this.#granted.get(uid) ?? new Map<string, number>()
      if ((granted.get(id) ?? 0) >= slots) continue
      this.#granted.set(uid, granted.set(id, slots))
      raised = true
    }
    return raised
  }

  #grant(uid: string, replicas: RevisionSlots['replicas']): void {
    if (replicas.length === 0) this.#granted.delete(uid)
    else this.#granted.set(uid, new Map(replicas.map(({ id, slots }) => [id, slots])))
  }
}
