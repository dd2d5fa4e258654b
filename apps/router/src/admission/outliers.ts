import type { Replica } from './replica.ts'

/** So many answers with 5xx in a row, while the others gave as many good ones, are no coincidence. */
const errorsInARow = 5
const ejectionMs = 10_000
const longestEjectionMs = 60_000

type Record = {
  errors: number
  /** Good answers of the whole revision when the errors began: since then all of them are of others. */
  goodBefore: number
  ejections: number
}

/**
 * Finds the replica that answers 5xx while the others answer well. An app that fails everywhere is no outlier: it is
 * asked as before. At most half of the replicas are ejected at a time.
 */
export class Outliers {
  readonly #records = new WeakMap<Replica, Record>()
  #good = 0

  /** Returns whether the replica is ejected now: for 10 s, and 10 s longer each further time, up to a minute. */
  noteAnswer(replica: Replica, status: number, all: ReadonlyMap<string, Replica>, now: number): boolean {
    if (status < 500) {
      this.#good += 1
      const record = this.#records.get(replica)
      if (record) record.errors = 0
      return false
    }
    const record = this.#recordOf(replica)
    if (record.errors === 0) record.goodBefore = this.#good
    record.errors += 1
    const others = this.#good - record.goodBefore
    if (record.errors < errorsInARow || others < errorsInARow || !mayEject(all, now)) return false
    record.errors = 0
    record.ejections += 1
    replica.ejectedUntil = now + Math.min(ejectionMs * record.ejections, longestEjectionMs)
    return true
  }

  #recordOf(replica: Replica): Record {
    const known = this.#records.get(replica)
    if (known) return known
    const record = { errors: 0, goodBefore: 0, ejections: 0 }
    this.#records.set(replica, record)
    return record
  }
}

function mayEject(all: ReadonlyMap<string, Replica>, now: number): boolean {
  let ejected = 1
  for (const { ejectedUntil } of all.values()) if (ejectedUntil > now) ejected += 1
  return ejected <= all.size / 2
}
