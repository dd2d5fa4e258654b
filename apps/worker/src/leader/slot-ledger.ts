import type { RouteDelta, RouteSnapshot, SlotsFrame, SlotsHeld } from '@berth/contracts'
import { shareSlots, type SlotHolder, type SlotShare } from '@berth/scheduler'

/*
 * Which router may use which slots (docs/decisions/015).
 *
 * alone   every slot of every replica is its own: the only router there is, or one that has not confirmed yet
 *         that it shares
 * shared  it uses the slots in its book and no others
 *
 * The book of a router is never below what it may use: slots are put into it before the router hears of them, and
 * only the router's own word takes some out. Slots of a router that is gone are charged to nobody until what it had in
 * flight is over.
 */

/** A router that dies may have sent a request since its last report, which is half a second old at most. */
const unreportedMs = 5_000
/** Up to here an app may go on computing for a client that is gone; above, a closed connection has freed the slot. */
const maxKeptConcurrency = 3

type Book = Map<string, Map<string, number>>
type Sharer = {
  alone: boolean
  /** The number of the first frame that asked it to share; it is alone until it answers that, or a later one. */
  askedToShare: number
  /** The newest of what it has said. What is older says nothing about now. */
  said: number
  /** It expects no new request. */
  isStopping: boolean
  /** Slots by revision and replica. */
  book: Book
  /** Of each revision: the newest frame that named it, and what that asked the router for. */
  sent: Map<string, { number: number; asked: Asked }>
  needs: Map<string, number>
  /** In flight by replica, in its last report; undefined for one that was there before this leader and has not sent any. */
  inFlight: Map<string, number> | undefined
}
/** To how many slots a router is to get down, and of which replicas to as few as it can. */
type Asked = Pick<SlotShare, 'keep' | 'clear'>
type Shared = { concurrency: number; timeoutMs: number; replicas: string[] }
type Charge = { router: string; revision: string; replica: string; slots: number; until: number }
type Report = {
  revisions: readonly {
    uid: string
    inFlight: number
    queued: number
    replicas: readonly { id: string; inFlight: number }[]
  }[]
}

export type SlotLedgerOptions = {
  epoch: number
  now: () => number
  /** False while routers of the leader before may still come: then nobody gets more than it has. */
  allHaveCome(): boolean
  send(router: string, frame: SlotsFrame): void
}

export type SlotLedger = ReturnType<typeof createSlotLedger>

export function createSlotLedger(options: SlotLedgerOptions) {
  const { epoch, now } = options
  const sharers = new Map<string, Sharer>()
  const revisions = new Map<string, Shared>()
  let charges: Charge[] = []
  let lastNumber = 0
  let waited = false

  function say(router: string, shared: boolean, told: SlotsFrame['revisions'] = []): number {
    lastNumber += 1
    options.send(router, { kind: 'slots', router, epoch, number: lastNumber, shared, revisions: told })
    return lastNumber
  }

  /** The only router is alone, all others share. Returns who has been told so now. */
  function settle(): Set<string> {
    const told = new Set<string>()
    const hasToShare = sharers.size > 1 || charges.length > 0
    const isOnly = !hasToShare && options.allHaveCome()
    for (const [router, sharer] of sharers) {
      if (isOnly && (!sharer.alone || sharer.askedToShare > 0)) {
        say(router, false)
        told.add(router)
        sharers.set(router, { ...aSharer(), ...lasting(sharer), alone: true })
      } else if (hasToShare && sharer.alone && sharer.askedToShare === 0) {
        sharer.askedToShare = say(router, true)
        told.add(router)
      }
    }
    return told
  }

  function shareAll(): void {
    waited ||= !options.allHaveCome()
    settle()
    for (const uid of revisions.keys()) share(uid)
  }

  function share(uid: string): void {
    const revision = revisions.get(uid)
    const sharing = [...sharers].filter(([, { alone }]) => !alone)
    if (!revision || sharing.length === 0 || !options.allHaveCome()) return
    const charged = new Map<string, number>()
    for (const { replica, slots } of charges) charged.set(replica, (charged.get(replica) ?? 0) + slots)
    const holders = [...sharers].map(([router, sharer]) => asHolder(router, sharer, uid, revision))
    const { concurrency, replicas } = revision
    for (const { router, granted, ...asked } of shareSlots({ concurrency, replicas, charged, holders })) {
      const sharer = sharers.get(router)
      if (!sharer || sharer.alone) continue
      const raised = total(granted) > total(sharer.book.get(uid))
      if (!raised && isSame(asked, sharer.sent.get(uid)?.asked ?? nothing)) continue
      sharer.book.set(uid, granted)
      tell(router, sharer, [uid], asked)
    }
  }

  function asHolder(
    router: string,
    sharer: Sharer,
    uid: string,
    { concurrency, replicas }: Shared,
  ): SlotHolder {
    const all = () => new Map(replicas.map((id) => [id, concurrency]))
    return {
      router,
      need: sharer.needs.get(uid) ?? 0,
      granted: sharer.alone ? all() : (sharer.book.get(uid) ?? new Map<string, number>()),
      isStopping: sharer.isStopping,
    }
  }

  /** Everything that the router has of these revisions. */
  function tell(router: string, sharer: Sharer, uids: readonly string[], asked: Asked = nothing): void {
    const number = say(
      router,
      true,
      uids.map((uid) => slotsOf(uid, sharer.book, asked)),
    )
    for (const uid of uids) sharer.sent.set(uid, { number, asked })
  }

  /** All that the router has to know, whatever of it was said before: it may have come to nobody. */
  function tellAll(router: string, sharer: Sharer): void {
    if (!sharer.alone) tell(router, sharer, [...sharer.book.keys()])
    else if (sharer.askedToShare > 0) say(router, true)
    else say(router, false)
  }

  /** Whether that is newer than all that the router has said; older routers do not count. */
  function isNews(sharer: Sharer, { said }: SlotsHeld): boolean {
    return said === undefined || said > sharer.said
  }

  /** Takes the router's own word, but for revisions of which it has not heard the newest yet. */
  function believe(sharer: Sharer, held: SlotsHeld): void {
    sharer.said = held.said ?? 0
    sharer.isStopping = held.stopping === true
    const heard = held.epoch === epoch ? held.number : 0
    for (const { uid, replicas, need } of held.revisions) {
      if (need !== undefined) sharer.needs.set(uid, need)
      if (heard < (sharer.sent.get(uid)?.number ?? 0)) continue
      const slots = new Map(replicas.map(({ id, slots }) => [id, slots]))
      if (slots.size > 0) sharer.book.set(uid, slots)
      else sharer.book.delete(uid)
    }
  }

  function chargeFor(router: string, sharer: Sharer, ended: boolean): void {
    for (const [uid, { concurrency, timeoutMs, replicas }] of revisions) {
      if (ended && concurrency > maxKeptConcurrency) continue
      const held = sharer.alone ? new Map(replicas.map((id) => [id, concurrency])) : sharer.book.get(uid)
      for (const [replica, slots] of held ?? []) {
        const reported = Math.min(slots, sharer.inFlight ? (sharer.inFlight.get(replica) ?? 0) : slots)
        const charge = { router, revision: uid, replica }
        if (reported > 0) charges.push({ ...charge, slots: reported, until: now() + timeoutMs })
        const until = now() + Math.min(unreportedMs, timeoutMs)
        if (slots > reported) charges.push({ ...charge, slots: slots - reported, until })
      }
    }
  }

  return {
    /** A table or a change of it was published: new replicas have slots to hand out. */
    published(frame: RouteSnapshot | RouteDelta): void {
      const gone = frame.kind === 'snapshot' ? [...revisions.keys()] : frame.removedRevisions
      // What is out of the table may come back, and routers may still be at work there.
      for (const uid of gone) revisions.get(uid)?.replicas.splice(0)
      for (const { uid, concurrency, timeoutMs, replicas } of frame.revisions)
        if (concurrency > 0)
          revisions.set(uid, { concurrency, timeoutMs, replicas: replicas.map(({ id }) => id) })
      for (const { uid } of frame.revisions) share(uid)
    },

    /** The router has come, or come back. It hears what it may use, in any case. Older routers say nothing of slots. */
    greeted(router: string, held: SlotsHeld | undefined): void {
      charges = charges.filter((charge) => charge.router !== router)
      if (!held) {
        sharers.delete(router)
        return shareAll()
      }
      const known = sharers.get(router)
      // What it has been sent since may be on its way.
      if (known && !known.alone && held.shared && isNews(known, held)) believe(known, held)
      else if (!known || isNews(known, held)) {
        const { inFlight = held.epoch === 0 && held.shared ? new Map() : undefined } = known ?? {}
        const { needs, askedToShare } = known ?? aSharer()
        const sharer = { ...aSharer(), alone: !held.shared, needs, inFlight }
        if (sharer.alone) sharer.askedToShare = askedToShare
        sharers.set(router, sharer)
        believe(sharer, held)
      }
      const heardSo = settle().has(router)
      const sharer = sharers.get(router)
      if (sharer && !heardSo) tellAll(router, sharer)
      shareAll()
    },

    held(router: string, held: SlotsHeld): void {
      const sharer = sharers.get(router)
      if (!sharer || held.epoch !== epoch || !held.shared || !isNews(sharer, held)) return
      if (sharer.alone) {
        if (sharer.askedToShare === 0 || held.number < sharer.askedToShare) return
        sharer.alone = false
        believe(sharer, held)
        return shareAll()
      }
      const wasStopping = sharer.isStopping
      believe(sharer, held)
      if (sharer.isStopping !== wasStopping) return shareAll()
      for (const { uid } of held.revisions) share(uid)
    },

    /** The router has so many requests of the revision in flight and queued. */
    needs(router: string, revision: string, need: number): void {
      const sharer = sharers.get(router)
      if (!sharer) return
      sharer.needs.set(revision, need)
      share(revision)
    },

    reported(router: string, report: Report): void {
      const sharer = sharers.get(router)
      if (!sharer) return
      sharer.inFlight = new Map(
        report.revisions.flatMap(({ replicas }) =>
          replicas.map(({ id, inFlight }) => [id, inFlight] as const),
        ),
      )
      const before = sharer.needs
      sharer.needs = new Map(report.revisions.map(({ uid, inFlight, queued }) => [uid, inFlight + queued]))
      for (const [uid, need] of sharer.needs) if (before.get(uid) !== need) share(uid)
    },

    /** The router has finished everything and is gone. */
    left(router: string): void {
      if (sharers.delete(router)) shareAll()
    },

    /** The router is gone with what it had in flight. `ended` when its process is known to be over. */
    lost(router: string, { ended }: { ended: boolean }): void {
      const sharer = sharers.get(router)
      if (!sharer) return
      sharers.delete(router)
      chargeFor(router, sharer, ended)
      shareAll()
    },

    /** Called often: ends charges whose time is over. */
    tick(): void {
      const due = charges.filter(({ until }) => until > now())
      if (due.length === charges.length && !(waited && options.allHaveCome())) return
      charges = due
      waited = false
      shareAll()
    },

    /** Drops replicas that are no more. */
    forget(isKnown: (replica: string) => boolean): void {
      charges = charges.filter(({ replica }) => isKnown(replica))
      for (const [router, sharer] of sharers) {
        const emptied: string[] = []
        for (const [uid, slots] of sharer.book) {
          for (const id of slots.keys()) if (!isKnown(id)) slots.delete(id)
          if (slots.size === 0 && sharer.book.delete(uid)) emptied.push(uid)
        }
        if (emptied.length > 0 && !sharer.alone) tell(router, sharer, emptied)
        for (const uid of sharer.sent.keys())
          if (!sharer.book.has(uid) && !emptied.includes(uid) && !revisions.has(uid)) sharer.sent.delete(uid)
      }
      const named = new Set([...sharers.values()].flatMap(({ book }) => [...book.keys()]))
      for (const [uid, { replicas }] of revisions)
        if (replicas.length === 0 && !named.has(uid)) revisions.delete(uid)
    },
  }
}

const nothing: Asked = { keep: null, clear: [] }

function isSame(a: Asked, b: Asked): boolean {
  return a.keep === b.keep && a.clear.join() === b.clear.join()
}

function aSharer(): Sharer {
  return {
    alone: false,
    askedToShare: 0,
    said: 0,
    isStopping: false,
    book: new Map(),
    sent: new Map(),
    needs: new Map(),
    inFlight: undefined,
  }
}

/** What is true of a router however it shares. */
function lasting({ said, isStopping, needs, inFlight }: Sharer) {
  return { said, isStopping, needs, inFlight }
}

function slotsOf(uid: string, book: Book, { keep, clear }: Asked): SlotsFrame['revisions'][number] {
  const replicas = [...(book.get(uid) ?? [])].map(([id, slots]) => ({
    id,
    slots,
    ...(clear.includes(id) ? { keep: 0 } : {}),
  }))
  return { uid, replicas, ...(keep === null ? {} : { keep }) }
}

function total(slots: ReadonlyMap<string, number> | undefined): number {
  let sum = 0
  for (const count of slots?.values() ?? []) sum += count
  return sum
}
