import { isDeepStrictEqual } from 'node:util'
import {
  compareVersions,
  type HostRoute,
  type LeaderFrame,
  type ReplicaId,
  type RevisionRoute,
  type RevisionUid,
  type RouteDelta,
  type RouteSnapshot,
  type RouteVersion,
  type ServiceUid,
} from '@berth/contracts'
import { buildRoutes } from './build-routes.ts'
import { pause } from './pause.ts'
import type { Blocked, RoutePublisher, World } from './ports.ts'

/** Where the publisher sends tables, and who has acknowledged what. Implemented by the router hub. */
export type RouterAudience = {
  broadcast(frame: LeaderFrame): void
  /** Resolves once every known router serves `version` or newer and lingers on none of `replicas`. */
  acknowledged(version: RouteVersion, replicas: readonly ReplicaId[], deadlineMs: number): Promise<boolean>
}

export type RoutePublisherOptions = {
  installation: string
  domain: string
  epoch: number
  world: World
  audience: RouterAudience
  /** Aborts when the term ends: nobody is asked any more. */
  signal: AbortSignal
  /** Told once the targets of a service's own host are served by every router. */
  onServiceRouted(service: ServiceUid, targets: HostRoute['targets']): void
}

const acknowledgeDeadlineMs = 60_000
const askAgainMs = 1_000

/**
 * Keeps the table that routers serve from. Every change of it gets the next sequence number of this leader's epoch
 * and goes out as a delta on the one before; whoever cannot apply a delta asks for `snapshot()`.
 */
export function createRoutePublisher(
  options: RoutePublisherOptions,
): RoutePublisher & { snapshot(): RouteSnapshot } {
  const { world, audience } = options
  const hosts = new Map<string, HostRoute>()
  const revisions = new Map<string, RevisionRoute>()
  const hostsOf = new Map<ServiceUid, string[]>()
  const revisionsOf = new Map<ServiceUid, string[]>()
  const blocked = new Map<RevisionUid, Blocked>()
  /** What was asked to be acknowledged last, per service. A new leader asks for every service once. */
  const asked = new Map<ServiceUid, HostRoute['targets']>()
  let version: RouteVersion = { epoch: options.epoch, sequence: 0 }

  function routesOf(uid: ServiceUid) {
    const service = world.services.get(uid)
    if (!service) return { hosts: [], revisions: [] }
    return buildRoutes(
      {
        service,
        revisions: [...world.revisions.values()].filter((revision) => revision.serviceUid === uid),
        replicas: world.replicasOfService(uid),
        nodeName: (node) => world.nodes.get(node)?.name ?? node,
        isDown: (node) => world.nodes.get(node)?.reachability === 'down',
        blocked: (revision) => blocked.get(revision) ?? null,
      },
      options.domain,
    )
  }

  /** Puts one service's routes into the table and notes in `delta` what is new or gone. */
  function apply(uid: ServiceUid, delta: RouteDelta): void {
    const next = routesOf(uid)
    for (const route of next.hosts) {
      if (isDeepStrictEqual(hosts.get(route.host), route)) continue
      hosts.set(route.host, route)
      delta.hosts.push(route)
    }
    for (const route of next.revisions) {
      if (isDeepStrictEqual(revisions.get(route.uid), route)) continue
      revisions.set(route.uid, route)
      delta.revisions.push(route)
    }
    const keptHosts = next.hosts.map((route) => route.host)
    for (const gone of (hostsOf.get(uid) ?? []).filter((host) => !keptHosts.includes(host))) {
      hosts.delete(gone)
      delta.removedHosts.push(gone)
    }
    const keptRevisions = next.revisions.map((route) => route.uid)
    for (const gone of (revisionsOf.get(uid) ?? []).filter((revision) => !keptRevisions.includes(revision))) {
      revisions.delete(gone)
      delta.removedRevisions.push(gone)
    }
    if (world.services.has(uid)) {
      hostsOf.set(uid, keptHosts)
      revisionsOf.set(uid, keptRevisions)
    } else {
      hostsOf.delete(uid)
      revisionsOf.delete(uid)
    }
  }

  function askForAcknowledgement(uids: readonly ServiceUid[], at: RouteVersion): void {
    const targets = uids
      .map((uid) => [uid, ownTargets(uid)] as const)
      .filter(([uid, now]) => !isDeepStrictEqual(asked.get(uid), now))
    for (const [uid, now] of targets) {
      if (world.services.has(uid)) asked.set(uid, now)
      else asked.delete(uid)
    }
    if (targets.length > 0) void tellWhenRouted(targets, at)
  }

  /** Asks until every router has acknowledged; what has changed since is asked for with its own version. */
  async function tellWhenRouted(
    targets: readonly (readonly [ServiceUid, HostRoute['targets']])[],
    at: RouteVersion,
  ): Promise<void> {
    const current = () => targets.filter(([uid, then]) => asked.get(uid) === then)
    while (current().length > 0 && !options.signal.aborted) {
      if (await audience.acknowledged(at, [], acknowledgeDeadlineMs)) {
        for (const [uid, then] of current()) options.onServiceRouted(uid, then)
        return
      }
      await pause(askAgainMs, options.signal)
    }
  }

  function ownTargets(uid: ServiceUid): HostRoute['targets'] {
    const own = (hostsOf.get(uid) ?? [])[0]
    const route = own === undefined ? undefined : hosts.get(own)
    return route && !route.host.includes('---') ? route.targets : []
  }

  return {
    get version() {
      return version
    },

    publish(uids) {
      const next = { epoch: version.epoch, sequence: version.sequence + 1 }
      const delta: RouteDelta = {
        kind: 'delta',
        base: version,
        version: next,
        hosts: [],
        removedHosts: [],
        revisions: [],
        removedRevisions: [],
      }
      for (const uid of uids) apply(uid, delta)
      const changes =
        delta.hosts.length +
        delta.removedHosts.length +
        delta.revisions.length +
        delta.removedRevisions.length
      if (changes > 0) {
        version = next
        audience.broadcast(delta)
      }
      askForAcknowledgement(uids, version)
      return version
    },

    setBlocked(revision, reason) {
      if (isDeepStrictEqual(blocked.get(revision) ?? null, reason)) return
      if (reason) blocked.set(revision, reason)
      else blocked.delete(revision)
      const service = world.revisions.get(revision)?.serviceUid
      if (service) this.publish([service])
    },

    async withdrawn(replica, at, deadlineMs) {
      return (await audience.acknowledged(at, [replica], deadlineMs)) ? 'withdrawn' : 'busy'
    },

    snapshot() {
      return {
        kind: 'snapshot',
        installation: options.installation,
        version,
        hosts: [...hosts.values()],
        revisions: [...revisions.values()],
      }
    },
  }
}

/** Whether a router that serves `has` has seen `wanted`. A router of an older epoch has seen nothing of this one. */
export function hasSeen(has: RouteVersion, wanted: RouteVersion): boolean {
  return compareVersions(has, wanted) >= 0
}
