import { z } from 'zod'

/*
 * The route table as the leader publishes it and routers serve from it. Version (epoch, sequence): within an
 * epoch every change is a delta on the version before; a new epoch starts with a snapshot.
 */

export const routeVersion = z.object({ epoch: z.int(), sequence: z.int() })
export type RouteVersion = z.infer<typeof routeVersion>

/** Negative when `a` is older than `b`, 0 when they are the same, positive when newer. */
export function compareVersions(a: RouteVersion, b: RouteVersion): number {
  return a.epoch - b.epoch || a.sequence - b.sequence
}

/**
 * One host: exact name without port, and what share of its requests goes to which revision. `affinity` is "cookie" where
 * clients are to come back to the replica that answered them; a router takes no notice of other ways.
 */
export const hostRoute = z.object({
  host: z.string(),
  project: z.string(),
  service: z.string(),
  serviceUid: z.string(),
  targets: z.array(z.object({ revision: z.string(), percent: z.number() })),
  affinity: z.string().optional(),
})
export type HostRoute = z.infer<typeof hostRoute>

/** A replica that takes requests. One that takes no new ones is simply not in the list any more. */
export const replicaRoute = z.object({ id: z.string(), node: z.string(), address: z.string(), port: z.int() })
export type ReplicaRoute = z.infer<typeof replicaRoute>

/**
 * One revision, keyed by its uid. `queueDeadlineMs` is how long a request may wait for a slot. `blocked` is set
 * when no replica can come: requests that wait are answered 503 with its reason at once. `atMaxScale` tells that
 * no further replica will come, so a full queue is 429 and not 503. `leaving` are replicas that are retired for good
 * and not only stepped down: their WebSockets are asked to close. `lost` are replicas on nodes that are down: what was
 * sent to them is broken off, unless the router finds that they are still there. A revision that no host leads to is in
 * the table only for the sake of these two. `lateBecause` is the reason for which replicas that are there take no
 * requests, for those that waited in vain. `protocol` is "h2c" where the replicas speak HTTP/2 without TLS; a router
 * takes no notice of other words.
 */
export const revisionRoute = z.object({
  uid: z.string(),
  name: z.string(),
  project: z.string(),
  service: z.string(),
  serviceUid: z.string(),
  concurrency: z.int(),
  timeoutMs: z.number(),
  /** Of a request's body; absent when there is no limit. */
  maxRequestBytes: z.number().optional(),
  queueDeadlineMs: z.number(),
  atMaxScale: z.boolean(),
  blocked: z.object({ reason: z.string(), message: z.string() }).nullable(),
  replicas: z.array(replicaRoute),
  leaving: z.array(z.string()).optional(),
  lateBecause: z.string().optional(),
  lost: z.array(z.string()).optional(),
  protocol: z.string().optional(),
})
export type RevisionRoute = z.infer<typeof revisionRoute>

export const routeSnapshot = z.object({
  kind: z.literal('snapshot'),
  installation: z.string(),
  version: routeVersion,
  hosts: z.array(hostRoute),
  revisions: z.array(revisionRoute),
})
export type RouteSnapshot = z.infer<typeof routeSnapshot>

/** Replaces whole hosts and revisions. Applies only on `base`; anything else asks for a snapshot. */
export const routeDelta = z.object({
  kind: z.literal('delta'),
  base: routeVersion,
  version: routeVersion,
  hosts: z.array(hostRoute),
  removedHosts: z.array(z.string()),
  revisions: z.array(revisionRoute),
  removedRevisions: z.array(z.string()),
})
export type RouteDelta = z.infer<typeof routeDelta>
