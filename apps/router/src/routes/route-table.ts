import {
  compareVersions,
  type HostRoute,
  type RevisionRoute,
  type RouteDelta,
  type RouteSnapshot,
  type RouteVersion,
} from '@berth/contracts'

/** What the router serves from: immutable, replaced whole by every applied frame. */
export type RouteTable = {
  readonly installation: string
  readonly version: RouteVersion
  readonly hosts: ReadonlyMap<string, HostRoute>
  readonly revisions: ReadonlyMap<string, RevisionRoute>
}

/** `stale`: older than what is served, or of another installation. `gap`: a delta whose base is not here. */
export type Applied = { kind: 'applied'; table: RouteTable } | { kind: 'stale' } | { kind: 'gap' }

/** A snapshot of the same version applies too: a new leader waits for it to be acknowledged. */
export function applyRoutes(
  table: RouteTable | undefined,
  frame: RouteSnapshot | RouteDelta,
  installation: string,
): Applied {
  if (frame.kind === 'snapshot') {
    if (frame.installation !== installation) return { kind: 'stale' }
    if (table && compareVersions(frame.version, table.version) < 0) return { kind: 'stale' }
    return { kind: 'applied', table: tableOf(frame) }
  }
  if (table && compareVersions(frame.version, table.version) <= 0) return { kind: 'stale' }
  if (!table || compareVersions(frame.base, table.version) !== 0) return { kind: 'gap' }
  const hosts = new Map(table.hosts)
  const revisions = new Map(table.revisions)
  for (const host of frame.removedHosts) hosts.delete(host)
  for (const uid of frame.removedRevisions) revisions.delete(uid)
  for (const host of frame.hosts) hosts.set(host.host, host)
  for (const revision of frame.revisions) revisions.set(revision.uid, revision)
  return { kind: 'applied', table: { ...table, version: frame.version, hosts, revisions } }
}

export function snapshotOf(table: RouteTable): RouteSnapshot {
  return {
    kind: 'snapshot',
    installation: table.installation,
    version: table.version,
    hosts: [...table.hosts.values()],
    revisions: [...table.revisions.values()],
  }
}

function tableOf(snapshot: RouteSnapshot): RouteTable {
  return {
    installation: snapshot.installation,
    version: snapshot.version,
    hosts: new Map(snapshot.hosts.map((host) => [host.host, host])),
    revisions: new Map(snapshot.revisions.map((revision) => [revision.uid, revision])),
  }
}
