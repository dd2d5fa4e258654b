import { z } from 'zod'
import { routeDelta, routeSnapshot, routeVersion } from './route-table.ts'

/*
 * What a router and the leader say to each other: one JSON object a line over the hub socket; the same frames
 * travel over Redis (publish/subscribe) as the second way, wrapped with the router's id. During an upgrade the two
 * ends are of different versions: fields that one does not know are left out, frames that it does not know are passed
 * over.
 */

const replicaSlots = z.object({ id: z.string(), slots: z.int() })
/** Slots of a revision that one router has, by replica; 0 of a replica that is not in the list. */
export const revisionSlots = z.object({ uid: z.string(), replicas: z.array(replicaSlots) })
export type RevisionSlots = z.infer<typeof revisionSlots>

/**
 * What a router may use, as it sees it after the leader's frame (`epoch`, `number`), 0 and 0 before the first. While
 * `shared` is false it counts alone: every slot of every replica is its own, and `revisions` is empty. Otherwise it
 * never has more in flight than the slots that it has. `need` is what it has in flight and queued of a revision.
 *
 * `said` counts what the router says here, from 1: a hello through Redis may come after what was said later on the
 * direct way. `stopping` is true once it accepts nothing and has closed idle connections, so that it needs no spare
 * slots. Older routers send neither.
 */
export const slotsHeld = z.object({
  epoch: z.int(),
  number: z.int(),
  shared: z.boolean(),
  revisions: z.array(revisionSlots.extend({ need: z.int().optional() })),
  said: z.int().optional(),
  stopping: z.boolean().optional(),
})
export type SlotsHeld = z.infer<typeof slotsHeld>

/**
 * First frame of a router. `version` is what it serves from, absent when it has no table. `slots` is everything that it
 * has; older routers do not know that slots are shared, and count alone. `process` tells whoever is in the same
 * namespace of process ids whether the router still lives.
 */
export const helloFrame = z.object({
  kind: z.literal('hello'),
  router: z.string(),
  incarnation: z.string(),
  adminPort: z.int(),
  version: routeVersion.optional(),
  slots: slotsHeld.optional(),
  process: z.object({ pid: z.int(), namespace: z.string() }).optional(),
})
export type HelloFrame = z.infer<typeof helloFrame>

/**
 * The router serves from `version`. `lingering` lists replicas that are in the table no more but still have
 * requests in flight here: sent on every applied change and again whenever the list shrinks. A replica is
 * withdrawn when every router has acknowledged a version without it and does not list it as lingering;
 * by then its pooled sockets are closed too.
 */
export const acknowledgeFrame = z.object({
  kind: z.literal('acknowledge'),
  version: routeVersion,
  lingering: z.array(z.string()),
})

/** Asks for a full table: none yet, or a delta did not fit. */
export const resyncFrame = z.object({ kind: z.literal('resync') })

/**
 * A level, sent at once when a request finds no slot and repeated every 50 ms until the table answers it:
 * `queued` requests wait and `inFlight` are being served in this router.
 */
export const demandFrame = z.object({
  kind: z.literal('demand'),
  revision: z.string(),
  queued: z.int(),
  inFlight: z.int(),
})

/**
 * Everything the router is doing, every 500 ms. `concurrency` is the mean number of requests in flight and
 * queued since the report before (time-weighted). `idleMs` of a replica is the time since its last request
 * ended here, 0 while one is in flight. `answers` are requests that replicas have answered since the report before;
 * `failed` are those among them with a status of 500 and above, not answered in time, or broken off; older routers do
 * not count them. Revisions and replicas without any activity in the table are listed too.
 */
export const reportFrame = z.object({
  kind: z.literal('report'),
  version: routeVersion,
  revisions: z.array(
    z.object({
      uid: z.string(),
      inFlight: z.int(),
      queued: z.int(),
      concurrency: z.number(),
      requests: z.int(),
      answers: z.object({ requests: z.int(), failed: z.int() }).optional(),
      replicas: z.array(z.object({ id: z.string(), inFlight: z.int(), idleMs: z.number() })),
    }),
  ),
})

/** Connecting to a replica failed or its connection died: the router has taken it out by itself for a while. */
export const replicaFailedFrame = z.object({
  kind: z.literal('replica-failed'),
  replica: z.string(),
  cause: z.string(),
})

/**
 * The router has given slots of these revisions back. Or it lists all that it has: it shares them from now on, was asked
 * for that, or is stopping.
 */
export const slotsHeldFrame = slotsHeld.extend({ kind: z.literal('slots-held') })

/** Last frame of a router that has finished every request and ends: nobody waits for it any more. */
export const goodbyeFrame = z.object({ kind: z.literal('goodbye') })

export const routerFrame = z.discriminatedUnion('kind', [
  helloFrame,
  acknowledgeFrame,
  resyncFrame,
  demandFrame,
  reportFrame,
  replicaFailedFrame,
  slotsHeldFrame,
  goodbyeFrame,
])
export type RouterFrame = z.infer<typeof routerFrame>
export type ReportFrame = z.infer<typeof reportFrame>
export type DemandFrame = z.infer<typeof demandFrame>

/** Sent by a worker that is not the leader, before it closes the connection. */
export const notLeaderFrame = z.object({ kind: z.literal('not-leader') })
/** Every 500 ms, so that a router knows that its leader lives. */
export const heartbeatFrame = z.object({ kind: z.literal('heartbeat'), epoch: z.int() })

/**
 * What `router` may use from now on. With `shared` false it is alone again and every slot is its own. One that was alone
 * takes no number from here: it keeps what it has and answers with that. For any other each revision replaces what
 * it had of it; while `keep` is there, the router gives idle slots back until it has no more than so many of the
 * revision, at once and whenever a request ends. A replica with a `keep` of its own is not part of that: of it the
 * router gets down to that number. A frame that shares and names no revision asks for everything that the router has.
 * Sent ahead of the table that answers a hello.
 */
export const slotsFrame = z.object({
  kind: z.literal('slots'),
  router: z.string(),
  epoch: z.int(),
  number: z.int(),
  shared: z.boolean(),
  revisions: z.array(
    z.object({
      uid: z.string(),
      replicas: z.array(replicaSlots.extend({ keep: z.int().optional() })),
      keep: z.int().optional(),
    }),
  ),
})
export type SlotsFrame = z.infer<typeof slotsFrame>

export const leaderFrame = z.discriminatedUnion('kind', [
  routeSnapshot,
  routeDelta,
  notLeaderFrame,
  heartbeatFrame,
  slotsFrame,
])
export type LeaderFrame = z.infer<typeof leaderFrame>

/** Null for a kind of a newer version. Throws `ZodError` for what is no frame. */
export function parseRouterFrame(data: unknown): RouterFrame | null {
  return isOfKnownKind(routerFrame, data) ? routerFrame.parse(data) : null
}

/** Null for a kind of a newer version. Throws `ZodError` for what is no frame. */
export function parseLeaderFrame(data: unknown): LeaderFrame | null {
  return isOfKnownKind(leaderFrame, data) ? leaderFrame.parse(data) : null
}

const ofSomeKind = z.object({ kind: z.string() })

function isOfKnownKind(frames: typeof routerFrame | typeof leaderFrame, data: unknown): boolean {
  const { kind } = ofSomeKind.parse(data)
  return frames.options.some((frame) => frame.shape.kind.value === kind)
}

/** A router's frame on the Redis channel. */
export const relayedRouterFrame = z.object({
  router: z.string(),
  incarnation: z.string(),
  frame: routerFrame,
})
export type RelayedRouterFrame = z.infer<typeof relayedRouterFrame>

export const reportIntervalMs = 500
export const demandRepeatMs = 50
export const heartbeatIntervalMs = 500
