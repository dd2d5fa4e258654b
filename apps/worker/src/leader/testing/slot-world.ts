import type { ReplicaRoute, RevisionRoute, RouteSnapshot, SlotsFrame, SlotsHeld } from '@berth/contracts'
import { createSlotLedger, type SlotLedger } from '../slot-ledger.ts'

const uid = 'rev-1'
const timeoutMs = 60_000
/** The ledger's word for how long what a dead router had not reported may go on. */
const unreportedMs = 5_000

type Told =
  | { kind: 'held' | 'hello'; held: SlotsHeld }
  | { kind: 'report' | 'need'; report: Map<string, number>; need: number }
type Orphan = { replica: string; until: number }

/** A router as far as slots are concerned, with a way to the leader on which frames take their time. */
export class SlotRouter {
  readonly id: string
  mode: 'waiting' | 'alone' | 'shared' = 'waiting'
  readonly inFlight = new Map<string, number>()
  readonly #replicas: readonly string[]
  readonly #concurrency: number
  #heard = { epoch: 0, number: 0 }
  #granted = new Map<string, number>()
  #keep: number | undefined
  #keepOf = new Map<string, number>()
  #said = 0
  #isStopping = false
  reported = new Map<string, number>()
  greeted = false
  fromLeader: SlotsFrame[] = []
  toLeader: Told[] = []
  /** What it has said on the slow way. */
  late: SlotsHeld[] = []

  constructor(id: string, replicas: readonly string[], concurrency: number) {
    this.id = id
    this.#replicas = replicas
    this.#concurrency = concurrency
  }

  limit(replica: string): number {
    return this.mode === 'alone' ? this.#concurrency : (this.#granted.get(replica) ?? 0)
  }

  /** Begins a request where there is an idle slot, or tells the leader that one waits. */
  ask(): boolean {
    if (this.#isStopping) return false
    const idle = this.#replicas.find((id) => this.#idle(id) > 0)
    if (idle === undefined) this.#say('need', 1)
    else this.inFlight.set(idle, (this.inFlight.get(idle) ?? 0) + 1)
    return idle !== undefined
  }

  end(replica: string): void {
    const count = this.inFlight.get(replica) ?? 0
    if (count === 0) return
    this.inFlight.set(replica, count - 1)
    this.#giveBack()
  }

  report(): void {
    this.#say('report', 0)
  }

  /** Says hello again while frames are on their way, as a router does that has Redis alone. */
  greet(): void {
    this.toLeader.push({ kind: 'hello', held: this.held() })
  }

  /** Says hello through Redis, which may come after whatever it says next on the direct way. */
  greetLate(): void {
    this.late.push(this.held())
  }

  /** Has waited for the leader's word long enough. */
  giveUpWaiting(): void {
    if (this.mode === 'waiting') this.mode = 'alone'
  }

  /** No request comes any more; those in flight go on. */
  stop(): void {
    this.#isStopping = true
    this.#tellHeld()
  }

  hear(): boolean {
    const frame = this.fromLeader.shift()
    if (!frame) return false
    this.#heard = { epoch: frame.epoch, number: frame.number }
    if (!frame.shared) {
      this.mode = 'alone'
      this.#keep = undefined
      this.#keepOf.clear()
    } else if (this.mode === 'alone') {
      this.#granted = new Map(this.#replicas.map((id) => [id, this.#concurrency]))
      this.mode = 'shared'
      this.#tellHeld()
    } else {
      this.mode = 'shared'
      for (const { replicas, keep } of frame.revisions) {
        this.#granted = new Map(replicas.map(({ id, slots }) => [id, slots]))
        const unknown = [...this.inFlight].filter(([id, used]) => used > (this.#granted.get(id) ?? 0))
        for (const [id, used] of unknown) this.#granted.set(id, used)
        if (unknown.length > 0) this.#tellHeld()
        this.#keep = keep
        this.#keepOf = new Map(
          replicas.flatMap((replica) => (replica.keep === undefined ? [] : [[replica.id, replica.keep]])),
        )
      }
      this.#giveBack()
      if (frame.revisions.length === 0) this.#tellHeld()
    }
    return true
  }

  held(): SlotsHeld {
    const replicas = [...this.#granted].map(([id, slots]) => ({ id, slots }))
    const shared = this.mode !== 'alone'
    const need = [...this.inFlight.values()].reduce((sum, count) => sum + count, 0)
    this.#said += 1
    return {
      ...this.#heard,
      shared,
      revisions: shared ? [{ uid, replicas, need }] : [],
      said: this.#said,
      stopping: this.#isStopping,
    }
  }

  #idle(replica: string): number {
    return this.limit(replica) - (this.inFlight.get(replica) ?? 0)
  }

  #giveBack(): void {
    const part = this.#replicas.filter((id) => !this.#keepOf.has(id))
    const granted = (id: string) => this.#granted.get(id) ?? 0
    let excess = part.reduce((sum, id) => sum + granted(id), 0) - (this.#keep ?? Infinity)
    let given = 0
    for (const id of this.#replicas) {
      const own = this.#keepOf.get(id)
      const count = Math.max(0, Math.min(this.#idle(id), own === undefined ? excess : granted(id) - own))
      this.#granted.set(id, granted(id) - count)
      if (own === undefined) excess -= count
      given += count
    }
    if (given > 0) this.#tellHeld()
  }

  #tellHeld(): void {
    this.toLeader.push({ kind: 'held', held: this.held() })
  }

  #say(kind: 'report' | 'need', queued: number): void {
    const report = new Map(this.inFlight)
    const need = [...report.values()].reduce((sum, count) => sum + count, queued)
    this.toLeader.push({ kind, report, need })
  }
}

/** Routers, the ledger of their leader, and the replicas that they send requests to. */
export class SlotWorld {
  readonly replicas = ['r1', 'r2']
  readonly concurrency: number
  readonly routers: SlotRouter[] = []
  #ledger: SlotLedger
  #epoch = 0
  #started = 0
  #now = 0
  /** Whoever has greeted the leader of now. */
  readonly #known = new Set<SlotRouter>()
  /** Requests of routers that were killed, which apps go on with. */
  #orphans: Orphan[] = []

  constructor(concurrency: number) {
    this.concurrency = concurrency
    this.#ledger = this.#lead()
  }

  /** What the replica has in flight, whoever sent it. */
  inFlight(replica: string): number {
    const orphans = this.#orphans.filter((orphan) => orphan.replica === replica).length
    return this.routers.reduce((sum, router) => sum + (router.inFlight.get(replica) ?? 0), orphans)
  }

  start(): void {
    this.#started += 1
    const router = new SlotRouter(`router-${this.#started}`, this.replicas, this.concurrency)
    this.routers.push(router)
  }

  /** The leader hears what the router has said first: its hello, else the oldest of its frames. */
  tell(router: SlotRouter): boolean {
    if (!router.greeted) {
      router.greeted = true
      this.#known.add(router)
      this.#ledger.greeted(router.id, router.held())
      return true
    }
    const told = router.toLeader.shift()
    if (told === undefined) return false
    if ('held' in told) this.#ledger[told.kind === 'hello' ? 'greeted' : 'held'](router.id, told.held)
    else if (told.kind === 'need') this.#ledger.needs(router.id, uid, told.need)
    else {
      router.reported = told.report
      const replicas = [...told.report].map(([id, inFlight]) => ({ id, inFlight }))
      this.#ledger.reported(router.id, { revisions: [{ uid, inFlight: told.need, queued: 0, replicas }] })
    }
    return true
  }

  /** What the router has said through Redis comes. */
  tellLate(router: SlotRouter): void {
    const held = router.late.shift()
    if (held) this.#ledger.greeted(router.id, held)
  }

  /** The connection breaks, with what was on its way; the router dials again. */
  cut(router: SlotRouter): void {
    router.greeted = false
    router.fromLeader = []
    router.toLeader = []
  }

  /** Only one that its leader knows: two faults at once are too many. */
  kill(router: SlotRouter): void {
    if (!this.#known.has(router)) return
    this.routers.splice(this.routers.indexOf(router), 1)
    for (const [replica, count] of this.concurrency > 3 ? [] : router.inFlight)
      for (let nth = 0; nth < count; nth += 1) {
        const known = nth < (router.reported.get(replica) ?? 0)
        this.#orphans.push({ replica, until: this.#now + (known ? timeoutMs : unreportedMs) })
      }
    this.#ledger.lost(router.id, { ended: true })
  }

  /** The router has finished what it had and leaves. */
  leave(router: SlotRouter): void {
    this.routers.splice(this.routers.indexOf(router), 1)
    this.#ledger.left(router.id)
  }

  /** Another worker leads. What the one before knew of routers that are gone is lost. */
  elect(): void {
    if (this.#orphans.length > 0) return
    for (const router of this.routers) {
      this.cut(router)
      router.late = []
    }
    this.#known.clear()
    this.#ledger = this.#lead()
  }

  pass(ms: number): void {
    this.#now += ms
    this.#orphans = this.#orphans.filter(({ until }) => until > this.#now)
    this.#ledger.tick()
  }

  /** Delivers everything that anybody has to say. */
  settle(): void {
    let moved = true
    for (let turn = 0; moved; turn += 1) {
      if (turn > 1000) throw new Error('they never stop talking')
      moved = false
      for (const router of this.routers) moved = router.hear() || this.tell(router) || moved
    }
  }

  #lead(): SlotLedger {
    this.#epoch += 1
    const ledger = createSlotLedger({
      epoch: this.#epoch,
      now: () => this.#now,
      allHaveCome: () => this.routers.every(({ greeted, mode }) => greeted || mode === 'waiting'),
      send: (id, frame) => this.routers.find((router) => router.id === id)?.fromLeader.push(frame),
    })
    ledger.published(tableOf(this.replicas, this.concurrency))
    return ledger
  }
}

function tableOf(ids: readonly string[], concurrency: number): RouteSnapshot {
  const replicas = ids.map((id): ReplicaRoute => ({ id, node: 'n1', address: '127.0.0.1', port: 1 }))
  const names = { name: 'hello-00001', project: 'default', service: 'hello', serviceUid: 'svc-1' }
  const revision: RevisionRoute = {
    ...names,
    uid,
    concurrency,
    timeoutMs,
    queueDeadlineMs: 10_000,
    atMaxScale: false,
    blocked: null,
    replicas,
  }
  const version = { epoch: 1, sequence: 1 }
  return { kind: 'snapshot', installation: 'test', version, hosts: [], revisions: [revision] }
}
