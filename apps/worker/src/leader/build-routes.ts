import {
  hostLabel,
  type HostRoute,
  type ReplicaRoute,
  type RevisionRoute,
  type RevisionUid,
  type ServiceUid,
} from '@berth/contracts'
import { queueDeadlineMs } from '@berth/scheduler'
import type { Blocked } from './ports.ts'
import { takesRequests, type ReplicaView, type RevisionView, type ServiceView } from './world-model.ts'

/** What the routes of one service are made from. */
export type RoutedService = {
  service: ServiceView
  revisions: readonly RevisionView[]
  replicas: readonly ReplicaView[]
  nodeName(uid: string): string
  isDown(node: string): boolean
  blocked(revision: RevisionUid): Blocked | null
}

export type ServiceRoutes = { service: ServiceUid; hosts: HostRoute[]; revisions: RevisionRoute[] }

/** Time a start takes until this revision has shown how long it really takes. */
const unknownStartMs = 1000

/**
 * The hosts and revisions that routers need for a service: its own host with the traffic split, one host per tag,
 * every revision that one of them names, and every revision of which a replica is leaving or lost. A service that is being
 * deleted has no hosts.
 */
export function buildRoutes(input: RoutedService, domain: string): ServiceRoutes {
  const { service } = input
  const traffic = service.deleting ? [] : service.traffic
  const byName = new Map(input.revisions.map((revision) => [revision.name, revision]))
  const routed = new Map<RevisionUid, RevisionView>()
  const own: { revision: string; percent: number }[] = []
  const hosts: HostRoute[] = []
  for (const target of traffic) {
    const revision = byName.get(target.revision)
    if (!revision) continue
    if (target.percent > 0) {
      const same = own.find((entry) => entry.revision === revision.uid)
      if (same) same.percent += target.percent
      else own.push({ revision: revision.uid, percent: target.percent })
    }
    if (target.percent > 0 || target.tag) routed.set(revision.uid, revision)
    if (target.tag) hosts.push(host(service, domain, target.tag, [{ revision: revision.uid, percent: 100 }]))
  }
  if (own.length > 0) hosts.unshift(host(service, domain, null, own))
  for (const revision of input.revisions)
    if (leavingOf(input, revision).length + lostOf(input, revision).length > 0)
      routed.set(revision.uid, revision)
  return {
    service: service.uid,
    hosts,
    revisions: [...routed.values()].map((revision) => revisionRoute(input, revision)),
  }
}

function host(
  service: ServiceView,
  domain: string,
  tag: string | null,
  targets: HostRoute['targets'],
): HostRoute {
  return {
    host: `${hostLabel({ service: service.name, project: service.project, tag })}.${domain}`,
    project: service.project,
    service: service.name,
    serviceUid: service.uid,
    targets,
    ...(service.sessionAffinity === 'cookie' ? { affinity: 'cookie' } : {}),
  }
}

function revisionRoute(input: RoutedService, revision: RevisionView): RevisionRoute {
  const { service } = input
  const leaving = leavingOf(input, revision)
  const lost = lostOf(input, revision)
  const timeoutMs = revision.template.timeoutSeconds * 1000
  const { maxRequestBytes } = revision.template
  const slowest = Math.max(revision.startMs.cold ?? unknownStartMs, revision.startMs.parked ?? 0)
  return {
    uid: revision.uid,
    name: revision.name,
    project: service.project,
    service: service.name,
    serviceUid: service.uid,
    concurrency: revision.template.concurrency,
    timeoutMs,
    ...(maxRequestBytes === undefined ? {} : { maxRequestBytes }),
    queueDeadlineMs: queueDeadlineMs({ meanStartMs: slowest, timeoutMs }),
    atMaxScale: isAtMaxScale(input, revision),
    blocked: input.blocked(revision.uid),
    replicas: input.replicas
      .filter((replica) => replica.revisionUid === revision.uid && takesRequests(replica))
      .map((replica) => replicaRoute(replica, input.nodeName(replica.nodeUid)))
      .sort((a, b) => (a.id < b.id ? -1 : 1)),
    ...(leaving.length > 0 ? { leaving } : {}),
    ...lateBecause(input, revision),
    ...(lost.length > 0 ? { lost } : {}),
    ...(speaksHttp2(revision) ? { protocol: 'h2c' } : {}),
  }
}

function speaksHttp2({ template }: RevisionView): boolean {
  return template.containers[0]?.ports[0]?.protocol === 'h2c'
}

/** While no replica may be asked: why one of them may not, for requests that waited for it in vain. */
function lateBecause({ replicas }: RoutedService, { uid }: RevisionView): { lateBecause?: string } {
  const present = replicas.filter(
    ({ revisionUid, state }) => revisionUid === uid && (state === 'starting' || state === 'ready'),
  )
  const reason = present.find((replica) => replica.reason !== null)?.reason ?? null
  return reason === null || present.some(takesRequests) ? {} : { lateBecause: reason }
}

/** Replicas that routers have let go of for good; whatever they still have open there is to end. */
function leavingOf({ replicas }: RoutedService, { uid }: RevisionView): string[] {
  return replicas
    .filter(({ revisionUid, state, serving }) => revisionUid === uid && state === 'draining' && !serving)
    .map(({ id }) => id)
    .sort()
}

/** Replicas that may have had requests when their node went down, whatever has become of their rows since. */
function lostOf(input: RoutedService, { uid }: RevisionView): string[] {
  return input.replicas
    .filter(({ revisionUid, rung, serving }) => revisionUid === uid && rung === 'running' && !serving)
    .filter(({ nodeUid }) => input.isDown(nodeUid))
    .map(({ id }) => id)
    .sort()
}

/**
 * Whether all replicas that may be are there and serve: only then a full queue is the client's to wait out (429). While
 * one of the revision starts, wakes or steps down, or none serves, it is for the platform to bring one up (503).
 */
function isAtMaxScale({ service, replicas }: RoutedService, revision: RevisionView): boolean {
  const counted = replicas.filter(
    ({ state, rung }) => (state === 'starting' || state === 'ready') && rung !== 'parked',
  )
  const own = counted.filter(({ revisionUid }) => revisionUid === revision.uid)
  return counted.length >= service.maxScale && own.length > 0 && own.every(takesRequests)
}

function replicaRoute(replica: ReplicaView, node: string): ReplicaRoute {
  return { id: replica.id, node, address: replica.address, port: replica.hostPort }
}
