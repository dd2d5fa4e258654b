/** Every Redis key and channel of an installation; nothing else in the code spells one. */
export function redisKeys(installation: string) {
  const router = `berth:${installation}:router:`
  return {
    /** Prefix of all that a router may read, write, publish or subscribe to. */
    routerPrefix: router,
    /** The same as rules of a Redis user: its keys and channels, and no command beyond them. */
    routerRules: `~${router}* &${router}* +@read +@write +@pubsub +@connection -@dangerous +info`,
    /** String: the newest route snapshot as JSON. */
    routeSnapshot: `${router}snapshot`,
    /** Channel: snapshots, deltas and heartbeats of the leader. */
    leaderFrames: `${router}leader`,
    /** Channel: frames of routers whose direct connection is down. */
    routerFrames: `${router}routers`,
    /** BullMQ's prefix. */
    queuePrefix: `berth:${installation}:queue`,
  } as const
}
