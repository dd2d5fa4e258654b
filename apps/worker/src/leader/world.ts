import type { NodeUid, ReplicaId, RevisionUid, ServiceUid } from '@berth/contracts'
import type { WorldReplica, WorldRows } from '@berth/db'
import type { World } from './ports.ts'
import type { NodeView, ReplicaView, RevisionView, ServiceView } from './world-model.ts'

/** What the leader itself is doing to replicas, which rows may not know yet. */
export type OwnChanges = {
  /** Whether rows read at `since` may be older than what was done to the replica. */
  touchedSince(replica: ReplicaId, since: number): boolean
}

/** A read of rows: its place in the order in which reads began, and the moment of the row writer just before. */
export type Read = { number: number; moment: number }

export type Picture = World & {
  /**
   * Takes over rows of everything, or of one service. Reads may come back in another order than they began in: what a
   * later one has said of a service stays.
   */
  merge(rows: WorldRows, read: Read, only?: ServiceUid): void
  addReplica(row: WorldReplica): void
  removeReplica(id: ReplicaId): void
  updateNode(uid: NodeUid, change: Partial<NodeView>): void
  updateRevision(uid: RevisionUid, change: Partial<RevisionView>): void
  /** Whether the service has an open deployment, whose starts are the reconciler's. */
  deploying(service: ServiceUid): boolean
}

/** Whether a read says what there is of a service. */
type Covers = (service: ServiceUid) => boolean

/**
 * The leader's picture in memory. What the leader does changes it at once; rows that come later take over only what
 * the leader has not changed since they were read. A replica that is new in the picture is not routed before
 * somebody has looked at it (`serving` is false).
 */
export function createPicture(own: OwnChanges): Picture {
  const services = new Map<ServiceUid, ServiceView>()
  const revisions = new Map<RevisionUid, RevisionView>()
  const replicas = new Map<ReplicaId, ReplicaView>()
  const nodes = new Map<string, NodeView>()
  const deploying = new Set<ServiceUid>()
  const readOf = new Map<ServiceUid, number>()
  let readOfAll = 0
  let readOfNodes = 0
  const ofRevision = new Map<RevisionUid, Set<ReplicaId>>()
  const ofService = new Map<ServiceUid, Set<ReplicaId>>()
  const listeners = new Set<(change: { services: ServiceUid[] }) => void>()

  function tell(changed: Iterable<ServiceUid>): void {
    const list = [...new Set(changed)]
    if (list.length > 0) for (const listener of listeners) listener({ services: list })
  }

  function put(replica: ReplicaView): void {
    if (!replicas.has(replica.id)) {
      indexIn(ofRevision, replica.revisionUid, replica.id)
      indexIn(ofService, replica.serviceUid, replica.id)
    }
    replicas.set(replica.id, replica)
  }

  function drop(replica: ReplicaView): void {
    replicas.delete(replica.id)
    unindex(ofRevision, replica.revisionUid, replica.id)
    unindex(ofService, replica.serviceUid, replica.id)
  }

  function mergeReplicas(rows: WorldRows, moment: number, covers: Covers): ServiceUid[] {
    const changed: ServiceUid[] = []
    const present = new Set<ReplicaId>()
    for (const row of rows.replicas) {
      present.add(row.id)
      if (!covers(row.serviceUid)) continue
      const known = replicas.get(row.id)
      const next =
        known === undefined ? viewOf(row) : mergeReplica(known, row, own.touchedSince(row.id, moment))
      if (known !== undefined && sameReplica(known, next)) continue
      put(next)
      changed.push(row.serviceUid)
    }
    for (const known of replicas.values()) {
      if (present.has(known.id) || !covers(known.serviceUid)) continue
      if (own.touchedSince(known.id, moment)) continue
      drop(known)
      changed.push(known.serviceUid)
    }
    return changed
  }

  function mergeServices(rows: WorldRows, covers: Covers): ServiceUid[] {
    const changed: ServiceUid[] = []
    const present = new Set(rows.services.map(({ uid }) => uid))
    for (const { deploying: open, ...service } of rows.services) {
      if (!covers(service.uid)) continue
      if (open) deploying.add(service.uid)
      else deploying.delete(service.uid)
      if (!sameJson(services.get(service.uid), service)) changed.push(service.uid)
      services.set(service.uid, service)
    }
    for (const uid of services.keys()) {
      if (present.has(uid) || !covers(uid)) continue
      services.delete(uid)
      deploying.delete(uid)
      changed.push(uid)
    }
    return changed
  }

  function mergeRevisions(rows: WorldRows, covers: Covers): ServiceUid[] {
    const changed: ServiceUid[] = []
    const present = new Set(rows.revisions.map(({ uid }) => uid))
    for (const revision of rows.revisions) {
      if (!covers(revision.serviceUid)) continue
      const known = revisions.get(revision.uid)
      // How starts go is the leader's own knowledge; rows have it from an earlier leader.
      const next =
        known === undefined ? revision : { ...revision, startMs: known.startMs, failure: known.failure }
      if (!sameJson(known, next)) changed.push(revision.serviceUid)
      revisions.set(revision.uid, next)
    }
    for (const known of revisions.values()) {
      if (present.has(known.uid) || !covers(known.serviceUid)) continue
      if ((ofRevision.get(known.uid)?.size ?? 0) > 0) continue
      revisions.delete(known.uid)
      changed.push(known.serviceUid)
    }
    return changed
  }

  function noteRead(number: number, only: ServiceUid | undefined): void {
    readOfNodes = Math.max(readOfNodes, number)
    if (only !== undefined) readOf.set(only, Math.max(readOf.get(only) ?? 0, number))
    else readOfAll = Math.max(readOfAll, number)
    for (const [uid, last] of readOf) if (last < readOfAll) readOf.delete(uid)
  }

  function mergeNodes(rows: WorldRows): void {
    const present = new Set<string>(rows.nodes.map(({ uid }) => uid))
    for (const node of rows.nodes) {
      const known = nodes.get(node.uid)
      // Whether a node is there the leader sees itself.
      nodes.set(node.uid, known === undefined ? node : { ...node, reachability: known.reachability })
    }
    for (const uid of nodes.keys()) if (!present.has(uid)) nodes.delete(uid)
  }

  return {
    services,
    revisions,
    replicas,
    nodes,
    replicasOfRevision: (uid) => [...(ofRevision.get(uid) ?? [])].flatMap((id) => replicas.get(id) ?? []),
    replicasOfService: (uid) => [...(ofService.get(uid) ?? [])].flatMap((id) => replicas.get(id) ?? []),
    deploying: (uid) => deploying.has(uid),

    updateReplica(id, change) {
      const known = replicas.get(id)
      if (known === undefined) return
      replicas.set(id, { ...known, ...change })
      tell([known.serviceUid])
    },
    updateNode(uid, change) {
      const known = nodes.get(uid)
      if (known !== undefined) nodes.set(uid, { ...known, ...change })
    },
    updateRevision(uid, change) {
      const known = revisions.get(uid)
      if (known !== undefined) revisions.set(uid, { ...known, ...change })
    },
    addReplica(row) {
      if (replicas.has(row.id)) return
      put(viewOf(row))
      tell([row.serviceUid])
    },
    removeReplica(id) {
      const known = replicas.get(id)
      if (known === undefined) return
      drop(known)
      tell([known.serviceUid])
    },
    merge(rows, { number, moment }, only) {
      const covers: Covers = (uid) =>
        (only === undefined || uid === only) && number > Math.max(readOfAll, readOf.get(uid) ?? 0)
      if (number > readOfNodes) mergeNodes(rows)
      const changed = [
        ...mergeServices(rows, covers),
        ...mergeReplicas(rows, moment, covers),
        ...mergeRevisions(rows, covers),
      ]
      noteRead(number, only)
      tell(changed)
    },
    onChange(listener) {
      listeners.add(listener)
      return () => listeners.delete(listener)
    },
  }
}

function viewOf(row: WorldReplica): ReplicaView {
  return { ...row, serving: false, held: false }
}

/**
 * `touched`: the row may be older than the picture, which wins then. Only `draining`, which others ask for, and
 * which nothing takes back, is believed at any time.
 */
function mergeReplica(known: ReplicaView, row: WorldReplica, touched: boolean): ReplicaView {
  if (known.state !== 'failed' && known.state !== 'draining' && row.state === 'draining')
    return { ...known, state: 'draining', drainingAt: row.drainingAt }
  if (touched || known.state === 'draining') return known
  const serving = known.serving && row.state === 'ready' && row.rung === 'running'
  return { ...row, serving, held: known.held && row.rung === 'parked' }
}

function sameReplica(a: ReplicaView, b: ReplicaView): boolean {
  return a === b || sameJson(a, b)
}

function sameJson(a: unknown, b: unknown): boolean {
  return JSON.stringify(a) === JSON.stringify(b)
}

function indexIn<Key, Value>(index: Map<Key, Set<Value>>, key: Key, value: Value): void {
  const values = index.get(key) ?? new Set<Value>()
  values.add(value)
  index.set(key, values)
}

function unindex<Key, Value>(index: Map<Key, Set<Value>>, key: Key, value: Value): void {
  const values = index.get(key)
  values?.delete(value)
  if (values?.size === 0) index.delete(key)
}
