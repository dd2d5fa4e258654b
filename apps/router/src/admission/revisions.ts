import type { ReplicaRoute, ReportFrame, RevisionRoute, RevisionSlots } from '@berth/contracts'
import type { RouteTable } from '../routes/route-table.ts'
import type { Upstream } from '../upstream/upstream.ts'
import type { Replica } from './replica.ts'
import { RevisionAdmission } from './revision.ts'
import { Slots } from './slots.ts'

export type RevisionsOptions = {
  now?: () => number
  /** Which slots are this router's; all of them unless said. */
  slots?: Slots
  queueLimit?: number
  connect(route: ReplicaRoute, revision: RevisionRoute): Upstream
  onQueued(revision: RevisionAdmission): void
  onReplicaFailed(replica: string, cause: string, revision: RevisionAdmission): void
  onEjected?(replica: string, revision: RevisionAdmission): void
  /** The list of lingering replicas got shorter. */
  onLingeringShrunk(): void
  onGaveBack?(revision: string): void
}

/** Admission to every revision that a host leads to, and the replicas that are leaving. */
export class Revisions {
  readonly #options: RevisionsOptions
  readonly #slots: Slots
  readonly #byUid = new Map<string, RevisionAdmission>()
  /** Revisions that no host leads to any more, with requests in flight: once one does, they come back with those. */
  readonly #departing = new Map<string, RevisionAdmission>()
  /** Withdrawn replicas until their last request has ended and their sockets are closed. */
  readonly #leaving = new Set<Replica>()

  constructor(options: RevisionsOptions) {
    this.#options = options
    this.#slots = options.slots ?? new Slots()
  }

  get(uid: string): RevisionAdmission | undefined {
    return this.#byUid.get(uid)
  }

  all(): Iterable<RevisionAdmission> {
    return this.#byUid.values()
  }

  /** Serves from `table` from this tick on. */
  update(table: RouteTable): void {
    const routed = routedRevisions(table)
    for (const [uid, revision] of this.#byUid) {
      const before = revision.replicas
      const route = routed.get(uid)
      for (const replica of before) this.#leaving.add(replica)
      if (route) revision.update(route)
      else {
        revision.remove()
        this.#byUid.delete(uid)
        this.#departing.set(uid, revision)
      }
    }
    for (const [uid, route] of routed) if (!this.#byUid.has(uid)) this.#byUid.set(uid, this.#add(route))
    for (const replica of this.#leaving) if (!replica.withdrawn) this.#leaving.delete(replica)
    for (const [uid, revision] of this.#departing) {
      if (revision.inFlight === 0) this.#departing.delete(uid)
      else revision.release(table.revisions.get(uid) ?? {})
    }
  }

  /** Takes the newest word on which slots are this router's. */
  share(): void {
    for (const revision of [...this.#byUid.values(), ...this.#departing.values()]) revision.share()
  }

  /** The slots that are in use here or may be, of every revision that has a limit. */
  slots(): RevisionSlots[] {
    const revisions = [...this.#byUid.values(), ...this.#departing.values()]
    return revisions.filter(({ route }) => route.concurrency > 0).map((revision) => revision.slots)
  }

  /** The slots of the revision's replicas that have a request in them. */
  inUse(uid: string): RevisionSlots['replicas'] {
    return (this.#byUid.get(uid) ?? this.#departing.get(uid))?.slotsInUse ?? []
  }

  /** Replicas that are in the table no more and still have requests or open sockets here. */
  lingering(): string[] {
    const listed = new Set<string>()
    for (const revision of this.#byUid.values())
      for (const replica of revision.replicas) listed.add(replica.id)
    return [...new Set([...this.#leaving].map((replica) => replica.id))].filter((id) => !listed.has(id))
  }

  report(): ReportFrame['revisions'] {
    return [...this.#byUid.values()].map((revision) => revision.report())
  }

  inFlight(): number {
    let sum = 0
    for (const revision of this.#byUid.values()) sum += revision.inFlight
    return sum
  }

  queued(): number {
    let sum = 0
    for (const revision of this.#byUid.values()) sum += revision.queued
    return sum
  }

  /** Closes every connection to every replica; what is under way breaks off. */
  async close(): Promise<void> {
    const replicas = [...this.#byUid.values()].flatMap((revision) => revision.replicas)
    for (const revision of this.#byUid.values()) revision.remove()
    this.#byUid.clear()
    await Promise.all([...replicas, ...this.#leaving].map((replica) => replica.upstream.close()))
  }

  #add(route: RevisionRoute): RevisionAdmission {
    const departing = this.#departing.get(route.uid)
    if (!departing) return new RevisionAdmission(route, this.#events())
    this.#departing.delete(route.uid)
    departing.update(route)
    return departing
  }

  #events() {
    const options = this.#options
    return {
      now: options.now ?? (() => performance.now()),
      slots: this.#slots,
      queueLimit: this.#options.queueLimit,
      connect: (route: ReplicaRoute, revision: RevisionRoute) => options.connect(route, revision),
      onQueued: (revision: RevisionAdmission) => options.onQueued(revision),
      onEjected: (replica: Replica, revision: RevisionAdmission) => options.onEjected?.(replica.id, revision),
      onReplicaFailed: (replica: Replica, cause: string, revision: RevisionAdmission) =>
        options.onReplicaFailed(replica.id, cause, revision),
      onGaveBack: (revision: RevisionAdmission) => options.onGaveBack?.(revision.route.uid),
      onEmptied: (replica: Replica) => this.#closeSockets(replica),
    }
  }

  #closeSockets(replica: Replica): void {
    if (replica.closing) return
    replica.closing = true
    this.#leaving.add(replica)
    void replica.upstream
      .close()
      .catch(() => undefined)
      .then(() => {
        this.#leaving.delete(replica)
        this.#options.onLingeringShrunk()
      })
  }
}

/** The revisions of the table that a host leads to. */
function routedRevisions(table: RouteTable): Map<string, RevisionRoute> {
  const routed = new Map<string, RevisionRoute>()
  for (const { targets } of table.hosts.values())
    for (const target of targets) {
      const route = table.revisions.get(target.revision)
      if (route) routed.set(target.revision, route)
    }
  return routed
}
