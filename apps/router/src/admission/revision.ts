import type { ReplicaRoute, ReportFrame, RevisionRoute, RevisionSlots } from '@berth/contracts'
import type { Upstream } from '../upstream/upstream.ts'
import { affinityToken } from './affinity-token.ts'
import { balanceFor, type Balance } from './balance.ts'
import { Replica, type Claim, type SlotOwner } from './replica.ts'
import { standardLimits } from '../limits.ts'
import { Outliers } from './outliers.ts'
import { QueuePace } from './queue-pace.ts'
import { RevisionQueue, type Refusal, type Waiter } from './revision-queue.ts'
import type { Slots } from './slots.ts'

/**
 * A router that got slots passes on none that it needs itself for so long: two that are short of them would do nothing
 * else.
 */
const tenureMs = 50

export type RevisionEvents = {
  now(): number
  /** Which slots are this router's. */
  slots: Slots
  /** How many requests may wait; 10,000 unless said. */
  queueLimit?: number | undefined
  connect(route: ReplicaRoute, revision: RevisionRoute): Upstream
  /** A request found no slot. */
  onQueued(revision: RevisionAdmission): void
  /** A replica was withdrawn and is empty: its connections can be closed. */
  onEmptied(replica: Replica): void
  onReplicaFailed(replica: Replica, cause: string, revision: RevisionAdmission): void
  /** A replica answers 5xx while the others do not, and is asked no more for a while. */
  onEjected(replica: Replica, revision: RevisionAdmission): void
  /** Some of its slots are free for other routers. */
  onGaveBack(revision: RevisionAdmission): void
}

/**
 * Admission to one revision: slots of its replicas and the queue before them. A request claims a slot in the tick
 * in which it arrives, or waits; whoever frees or adds a slot hands it to the oldest waiter (late binding).
 */
export class RevisionAdmission implements SlotOwner {
  readonly #events: RevisionEvents
  readonly #queue: RevisionQueue
  readonly #pace = new QueuePace()
  readonly #outliers = new Outliers()
  readonly #replicas = new Map<string, Replica>()
  /** Withdrawn with requests in flight: listed again, they come back with the slots that are still taken. */
  readonly #departing = new Map<string, Replica>()
  #route: RevisionRoute
  #balance: Balance
  #uses = 0
  #inFlight = 0
  #requests = 0
  #answers = { requests: 0, failed: 0 }
  #loadArea = 0
  #loadSince: number
  #reportedAt: number
  #wakeTimer: NodeJS.Timeout | undefined
  #affinityToken: string | undefined
  /** To how many slots it is to get down, and to how many of single replicas, which do not count there. */
  #keep: number | undefined
  #keepOf: ReadonlyMap<string, number> | undefined
  /** When it got more slots. */
  #raisedAt = -Infinity
  /** No host leads to it: no replica comes any more. */
  #removed = false

  constructor(route: RevisionRoute, events: RevisionEvents) {
    this.#route = route
    this.#events = events
    this.#queue = new RevisionQueue(events.queueLimit ?? standardLimits.queueLimit)
    this.#balance = balanceFor(route.concurrency)
    this.#loadSince = this.#reportedAt = events.now()
    this.update(route)
  }

  get route(): RevisionRoute {
    return this.#route
  }

  get inFlight(): number {
    return this.#inFlight
  }

  get queued(): number {
    return this.#queue.size
  }

  get replicas(): readonly Replica[] {
    return [...this.#replicas.values()]
  }

  /** Takes the table's newest word on this revision: withdraws, adds, and serves who waits. */
  update(route: RevisionRoute): void {
    this.#removed = false
    this.#route = route
    this.#balance = balanceFor(route.concurrency)
    const listed = new Map(route.replicas.map((replica) => [replica.id, replica]))
    for (const replica of this.#replicas.values()) {
      const now = listed.get(replica.id)
      const same = now && now.address === replica.route.address && now.port === replica.route.port
      if (!same || replica.concurrency !== route.concurrency) this.#withdraw(replica)
    }
    for (const replica of route.replicas) {
      if (this.#replicas.has(replica.id) || this.#comesBack(replica)) continue
      const upstream = this.#events.connect(replica, route)
      this.#replicas.set(replica.id, new Replica(replica, route.concurrency, upstream, this.#events.now()))
    }
    this.release(route)
    this.share()
    if (route.blocked && route.replicas.length === 0) this.#refuseAll({ kind: 'blocked', ...route.blocked })
  }

  /** Takes the newest word on which slots are this router's: gives back what it is asked for, and serves who waits. */
  share(): void {
    const { slots } = this.#events
    let raised = false
    for (const replica of [...this.#replicas.values(), ...this.#departing.values()]) {
      const limit = slots.limit(this.#route.uid, replica.id, replica.concurrency)
      raised ||= limit > replica.limit
      replica.limit = limit
    }
    if (raised) this.#raisedAt = this.#events.now()
    this.#keep = slots.keep(this.#route.uid)
    this.#keepOf = slots.keepOf(this.#route.uid)
    this.#giveBack()
    this.#pump()
  }

  /** The slots that it uses now or may use. */
  get slots(): RevisionSlots {
    const replicas = [...this.#replicas.values(), ...this.#departing.values()]
    return { uid: this.#route.uid, replicas: replicas.map(({ id, limit }) => ({ id, slots: limit })) }
  }

  /** The slots that have a request in them. */
  get slotsInUse(): RevisionSlots['replicas'] {
    const replicas = [...this.#replicas.values(), ...this.#departing.values()]
    return replicas
      .filter(({ inFlight }) => inFlight > 0)
      .map(({ id, inFlight }) => ({ id, slots: inFlight }))
  }

  /** What the table says of its withdrawn replicas: gone for good and not only stepped down, or lost with their node. */
  release({ leaving = [], lost = [] }: Pick<RevisionRoute, 'leaving' | 'lost'>): void {
    for (const replica of this.#departing.values()) {
      if (leaving.includes(replica.id)) replica.leave()
      replica.noteLost(lost.includes(replica.id))
    }
  }

  /** No host leads to the revision any more: nobody waits any longer, replicas drain. */
  remove(): void {
    this.#removed = true
    for (const replica of this.#replicas.values()) this.#withdraw(replica)
    this.#refuseAll({ kind: 'withdrawn' })
    clearTimeout(this.#wakeTimer)
  }

  /** Names the revision in the cookie of a client that is to come back to it. */
  get affinityToken(): string {
    return (this.#affinityToken ??= affinityToken(this.#route.serviceUid, this.#route.uid))
  }

  /** The same for the replica of `claim`. */
  affinityTokenOf(claim: Claim): string {
    return claim.replica.affinityToken(this.#route.serviceUid)
  }

  /**
   * A slot in this very tick, undefined when the request has to wait: for a slot or behind others. A request that
   * comes a second time is counted once. The replica of the token `preferred` takes it if it can, but nobody waits
   * for that one.
   */
  tryClaim({ again = false, preferred }: { again?: boolean; preferred?: string | undefined } = {}):
    | Claim
    | undefined {
    if (!again) this.#requests += 1
    // A replica may be back already while the timer that says so is late.
    if (this.#queue.size > 0) this.#pump()
    return this.#queue.size > 0 ? undefined : this.#claim(this.#events.now(), preferred)
  }

  /** Joins the queue; may refuse at once. Returns how to leave it. */
  wait(waiter: Waiter): () => void {
    const refusal = this.#refusalFor(waiter)
    if (refusal) {
      waiter.refuse(refusal)
      return () => undefined
    }
    this.#noteLoad()
    const now = this.#events.now()
    if (this.#queue.size === 0) this.#pace.began(now)
    const leave = this.#queue.push(waiter, (late) => {
      this.#noteLoad()
      late.refuse(this.deadlineRefusal())
    })
    this.#wakeWhenBack(now)
    this.#events.onQueued(this)
    return () => {
      this.#noteLoad()
      leave()
    }
  }

  /** Why a request that has waited for as long as it may is refused. */
  deadlineRefusal(): Refusal {
    const { lateBecause: because } = this.#route
    return { kind: 'queue-deadline', atMaxScale: this.#allBusyAtMaxScale, because }
  }

  /** Takes the replica of `claim` out of balancing for a while and tells the leader, once for all that die together. */
  failed(claim: Claim, cause: string): void {
    if (claim.replica.failed(claim, this.#events.now()))
      this.#events.onReplicaFailed(claim.replica, cause, this)
  }

  /** The replica of `claim` answered with `status`: if it was out, it is back; if others do better, they are asked. */
  succeeded({ replica }: Claim, status: number): void {
    if (replica.succeeded()) this.#pump()
    if (this.#outliers.noteAnswer(replica, status, this.#replicas, this.#events.now()))
      this.#events.onEjected(replica, this)
  }

  /** One of its requests has had its answer from a replica, or the failure of one. */
  answered({ failed }: { failed: boolean }): void {
    this.#answers.requests += 1
    if (failed) this.#answers.failed += 1
  }

  /** What happened since the report before. */
  report(): ReportFrame['revisions'][number] {
    this.#noteLoad()
    const now = this.#events.now()
    const elapsed = now - this.#reportedAt
    const concurrency = elapsed > 0 ? this.#loadArea / elapsed : this.#inFlight + this.#queue.size
    const requests = this.#requests
    const answers = this.#answers
    this.#reportedAt = now
    this.#loadArea = 0
    this.#requests = 0
    this.#answers = { requests: 0, failed: 0 }
    return {
      uid: this.#route.uid,
      inFlight: this.#inFlight,
      queued: this.#queue.size,
      concurrency,
      requests,
      answers,
      replicas: this.replicas.map(({ id, inFlight, idleSince }) => ({
        id,
        inFlight,
        idleMs: inFlight > 0 ? 0 : now - idleSince,
      })),
    }
  }

  /** Too many requests for all that may be; while nothing serves at all, it is the service that is late. */
  get #allBusyAtMaxScale(): boolean {
    return this.#route.atMaxScale && this.#route.replicas.length > 0
  }

  #refusalFor(waiter: Waiter): Refusal | undefined {
    const { blocked, replicas } = this.#route
    if (this.#removed) return { kind: 'withdrawn' }
    if (blocked && replicas.length === 0) return { kind: 'blocked', ...blocked }
    const inVain =
      this.#allBusyAtMaxScale && this.#pace.isInVain(this.#queue.size, waiter.deadlineMs, this.#events.now())
    if (this.#queue.hasRoomFor(waiter) && !inVain) return undefined
    return { kind: 'queue-full', atMaxScale: this.#allBusyAtMaxScale }
  }

  #claim(now: number, preferred?: string): Claim | undefined {
    const replica = this.#preferred(now, preferred) ?? this.#balance(this.#replicas.values(), now)
    if (!replica) return undefined
    this.#noteLoad()
    this.#inFlight += 1
    this.#uses += 1
    return replica.claim(this.#uses, this)
  }

  #preferred(now: number, token: string | undefined): Replica | undefined {
    if (token === undefined) return undefined
    for (const replica of this.#replicas.values())
      if (replica.affinityToken(this.#route.serviceUid) === token)
        return replica.hasFreeSlot(now) ? replica : undefined
    return undefined
  }

  /** One of its slots is free again. */
  released(replica: Replica): void {
    this.#noteLoad()
    this.#inFlight -= 1
    this.#uses += 1
    replica.lastUse = this.#uses
    replica.idleSince = this.#events.now()
    this.#giveBack()
    if (!replica.withdrawn) this.#pump()
    else if (replica.inFlight === 0) this.#emptied(replica)
  }

  /** Gives idle slots back until it has as few as it was asked to keep; those of the replica used last go last. */
  #giveBack(): void {
    if (this.#keep === undefined && this.#keepOf === undefined) return
    if (this.#queue.size > 0 && this.#events.now() - this.#raisedAt < tenureMs) return
    const replicas = [...this.#replicas.values()].sort((a, b) => a.lastUse - b.lastUse)
    let excess = -(this.#keep ?? Infinity)
    for (const { id, limit } of replicas) if (!this.#keepOf?.has(id)) excess += limit
    let gaveSome = false
    for (const replica of replicas) {
      const own = this.#keepOf?.get(replica.id)
      const wanted = own === undefined ? excess : replica.limit - own
      const count = Math.min(replica.limit - replica.inFlight, wanted)
      if (count <= 0) continue
      replica.limit -= count
      if (own === undefined) excess -= count
      this.#events.slots.giveBack(this.#route.uid, replica.id, count)
      gaveSome = true
    }
    if (gaveSome) this.#events.onGaveBack(this)
  }

  /** One reading of the clock for all of it: a replica is either free now or awaited. */
  #pump(): void {
    const now = this.#events.now()
    while (this.#queue.size > 0) {
      const claim = this.#claim(now)
      if (!claim) break
      const waiter = this.#queue.shift()
      this.#pace.granted(now)
      if (waiter) waiter.grant(claim)
      else claim.release()
    }
    this.#wakeWhenBack(now)
  }

  /** Somebody waits and a replica is out: looks again when the first one is back. */
  #wakeWhenBack(now: number): void {
    clearTimeout(this.#wakeTimer)
    if (this.#queue.size === 0) return
    const backAt = this.replicas.filter((replica) => replica.hasRoom).map((replica) => replica.backAt)
    if (backAt.length === 0) return
    this.#wakeTimer = setTimeout(() => this.#pump(), Math.max(1, Math.ceil(Math.min(...backAt) - now)))
  }

  #withdraw(replica: Replica): void {
    replica.withdrawn = true
    this.#replicas.delete(replica.id)
    if (replica.inFlight === 0) this.#emptied(replica)
    else this.#departing.set(replica.id, replica)
  }

  #emptied(replica: Replica): void {
    if (this.#departing.get(replica.id) === replica) this.#departing.delete(replica.id)
    this.#events.onEmptied(replica)
  }

  #comesBack(route: ReplicaRoute): boolean {
    const replica = this.#departing.get(route.id)
    if (!replica || replica.concurrency !== this.#route.concurrency) return false
    if (replica.route.address !== route.address || replica.route.port !== route.port) return false
    this.#departing.delete(replica.id)
    replica.withdrawn = false
    replica.noteLost(false)
    this.#replicas.set(replica.id, replica)
    return true
  }

  #refuseAll(refusal: Refusal): void {
    this.#noteLoad()
    for (let waiter = this.#queue.shift(); waiter; waiter = this.#queue.shift()) waiter.refuse(refusal)
  }

  /** Adds (in flight + queued) x time since the last change to the area under the load curve. */
  #noteLoad(): void {
    const now = this.#events.now()
    this.#loadArea += (this.#inFlight + this.#queue.size) * (now - this.#loadSince)
    this.#loadSince = now
  }
}
