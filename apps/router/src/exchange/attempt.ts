/** One sending of a request to a replica, with its times. */
export class Attempt {
  /** The id of the replica. */
  readonly replica: string
  readonly #sentAt = performance.now()
  #headMs: number | undefined
  #ms: number | undefined

  constructor(replica: string) {
    this.replica = replica
  }

  /** From the sending to the head of the answer; undefined while or when none came. */
  get headMs(): number | undefined {
    return this.#headMs
  }

  /** From the sending to the end of the answer or of the attempt; undefined until then. */
  get ms(): number | undefined {
    return this.#ms
  }

  headCame(): void {
    this.#headMs = performance.now() - this.#sentAt
  }

  ended(): void {
    this.#ms = performance.now() - this.#sentAt
  }
}
