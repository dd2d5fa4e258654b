import type { ReplicaRoute } from '@berth/contracts'
import { setTimeout as delay } from 'node:timers/promises'
import type { Upstream } from '../upstream/upstream.ts'
import { affinityToken } from './affinity-token.ts'

/*
 * One replica as this router sees it.
 *
 * listed     in the table, takes requests while it has a free slot and is not out
 * out        listed, but connecting failed lately: takes no request until `outUntil`
 * ejected    listed, but answered 5xx while the others answered well: takes no request until `ejectedUntil`
 * withdrawn  in the table no more: takes no request, those in flight go on. When it is `leaving` as well, it will not
 *            come back, and what may live for ever is asked to end. When its node is down, and nobody accepts a
 *            connection there either, what was sent to it is broken off
 * closing    withdrawn and empty: its sockets are being closed
 * gone       nothing of it is left here
 */

const firstOutageMs = 100
/** So that a second try meets an app that had time to start again, or a table without it. */
const outageGrowth = 4
const longestOutageMs = 5000
/** An engine that hangs takes its node down and leaves the apps there running: then we look again. */
const lookAgainMs = 2000

/** Whoever has given a slot hears that it is free again. */
export type SlotOwner = { released(replica: Replica): void }

/** A taken slot. */
export class Claim {
  readonly replica: Replica
  /** How often the replica had been out when the slot was taken. */
  readonly outages: number
  readonly #owner: SlotOwner
  #isReleased = false

  constructor(replica: Replica, owner: SlotOwner) {
    this.replica = replica
    this.outages = replica.outages
    this.#owner = owner
  }

  /** Gives the slot back; called again it does nothing. */
  release(): void {
    if (this.#isReleased) return
    this.#isReleased = true
    this.replica.inFlight -= 1
    this.#owner.released(this.replica)
  }
}

/** What is under way at a replica. */
export type ReplicaUser = {
  /** The node is gone: no answer comes any more, and no end of one. */
  replicaLost(): void
}

export class Replica {
  readonly id: string
  readonly route: ReplicaRoute
  readonly upstream: Upstream
  /** 0 = unlimited. */
  readonly concurrency: number
  /** How many requests may be in flight from this router: its share of the slots. */
  limit = 0
  inFlight = 0
  /** Grows with every use: the replica with the highest was used last. */
  lastUse = 0
  idleSince: number
  outUntil = 0
  /** Until when others are asked instead, since it answers worse than they do. */
  ejectedUntil = 0
  withdrawn = false
  closing = false
  #leaving = false
  readonly #onLeave = new Set<() => void>()
  #lost = false
  readonly #users = new Set<ReplicaUser>()
  #affinityToken: string | undefined
  /** How often it has been out. */
  outages = 0
  /** Outages since it last answered. */
  #failures = 0

  constructor(route: ReplicaRoute, concurrency: number, upstream: Upstream, now: number) {
    this.id = route.id
    this.route = route
    this.concurrency = concurrency
    this.upstream = upstream
    this.idleSince = now
  }

  hasFreeSlot(now: number): boolean {
    return now >= this.backAt && this.hasRoom
  }

  /** When it takes requests again; in the past when it does. */
  get backAt(): number {
    return Math.max(this.outUntil, this.ejectedUntil)
  }

  /** A slot is free, or will be once the replica is back. */
  get hasRoom(): boolean {
    return !this.withdrawn && this.inFlight < this.limit
  }

  /** Names it in the cookie of a client that is to come back; `key` is the service's. */
  affinityToken(key: string): string {
    return (this.#affinityToken ??= affinityToken(key, this.id))
  }

  /** It is retired for good: tells everyone who asked to be told. */
  leave(): void {
    if (this.#leaving) return
    this.#leaving = true
    for (const listener of this.#onLeave) listener()
  }

  /** Calls `listener` when the replica is leaving, at once if it is already. Returns how to stop that. */
  onLeave(listener: () => void): () => void {
    this.#onLeave.add(listener)
    if (this.#leaving) listener()
    return () => void this.#onLeave.delete(listener)
  }

  /** Its node is down, or (with false) is not any more. */
  noteLost(lost: boolean): void {
    if (lost === this.#lost) return
    this.#lost = lost
    if (lost) void this.#breakOffWhenGone()
  }

  /** Tells `user` when what was sent to the replica is lost. */
  addUser(user: ReplicaUser): void {
    this.#users.add(user)
  }

  removeUser(user: ReplicaUser): void {
    this.#users.delete(user)
  }

  async #breakOffWhenGone(): Promise<void> {
    while (this.#lost && this.inFlight > 0) {
      const answers = await this.upstream.answers()
      if (!this.#lost) return
      if (!answers) for (const user of this.#users) user.replicaLost()
      await delay(lookAgainMs, undefined, { ref: false })
    }
  }

  /** Takes a slot in this very tick. The caller has asked `hasFreeSlot`. */
  claim(use: number, owner: SlotOwner): Claim {
    this.inFlight += 1
    this.lastUse = use
    return new Claim(this, owner)
  }

  /**
   * Takes the replica out: 100 ms after the first failure, four times as long after each further one, up to 5 s. Requests
   * that die together are one failure: false for a claim from before the newest outage, which changes nothing.
   */
  failed(claim: Claim, now: number): boolean {
    if (claim.outages < this.outages) return false
    this.outages += 1
    this.outUntil = now + Math.min(firstOutageMs * outageGrowth ** this.#failures, longestOutageMs)
    this.#failures = Math.min(this.#failures + 1, 10)
    return true
  }

  /** Returns whether that ended an outage. */
  succeeded(): boolean {
    const wasOut = this.outUntil > 0
    this.#failures = 0
    this.outUntil = 0
    return wasOut
  }
}
