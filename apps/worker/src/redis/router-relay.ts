import { redisKeys, type LeaderFrame } from '@berth/contracts'
import { Redis } from 'ioredis'
import type { Logger } from 'pino'
import type { RouterRelay } from '../leader/router-hub.ts'

/*
 * The second way between leader and routers: a stored snapshot and one channel each way. Whatever Redis does, nobody
 * waits for it: what cannot be sent now is dropped, and the next snapshot replaces it.
 */

/**
 * Stores a snapshot unless a newer one is there, in one step, so that a leader that was cut off never puts an old
 * table over a new one. Versions compare as (epoch, sequence).
 */
const storeIfNewer = `
local stored = redis.call('GET', KEYS[1])
if stored then
  local ok, table = pcall(cjson.decode, stored)
  if ok and table.version then
    local epoch, sequence = tonumber(ARGV[2]), tonumber(ARGV[3])
    if table.version.epoch > epoch then return 0 end
    if table.version.epoch == epoch and table.version.sequence > sequence then return 0 end
  end
end
redis.call('SET', KEYS[1], ARGV[1])
return 1
`

export type RedisRelay = RouterRelay & {
  /** Whether Redis has answered lately what it was sent: while it does not, nothing is stepped down. */
  healthy(): boolean
  close(): Promise<void>
}

/** A leader publishes a heartbeat twice a second. */
const answeredWithinMs = 2_000

export function openRouterRelay(url: string, installation: string, log: Logger): RedisRelay {
  const keys = redisKeys(installation)
  const options = {
    maxRetriesPerRequest: 1,
    commandTimeout: 1000,
    enableOfflineQueue: false,
    lazyConnect: false,
  }
  const retryStrategy = (times: number) => Math.min(50 * 2 ** Math.min(times, 10), 2000)
  const sender = new Redis(url, { ...options, retryStrategy })
  const listener = new Redis(url, { maxRetriesPerRequest: null, retryStrategy, autoResubscribe: true })
  const listeners = new Set<(payload: unknown) => void>()
  let down = false
  let answeredAt = -Infinity

  function answered(): void {
    answeredAt = performance.now()
    if (down) log.info('redis is back')
    down = false
  }

  function note(error: unknown): void {
    if (!down) log.warn({ err: error }, 'redis is away, routers are reached by their sockets only')
    down = true
  }
  sender.on('error', note)
  listener.on('error', () => undefined)
  sender.on('ready', answered)
  listener.subscribe(keys.routerFrames).catch(note)
  listener.on('message', (_channel, text) => {
    let payload: unknown
    try {
      payload = JSON.parse(text)
    } catch {
      return
    }
    for (const take of listeners) take(payload)
  })

  return {
    publish(frame: LeaderFrame) {
      // A Redis that hangs is asked by heartbeats alone, so that nothing piles up before it.
      if (sender.status !== 'ready' || (down && frame.kind !== 'heartbeat')) return
      const text = JSON.stringify(frame)
      sender.publish(keys.leaderFrames, text).then(answered, note)
      if (frame.kind === 'snapshot') {
        const { epoch, sequence } = frame.version
        sender.eval(storeIfNewer, 1, keys.routeSnapshot, text, epoch, sequence).catch(note)
      }
    },
    onFrame(take) {
      listeners.add(take)
      return () => listeners.delete(take)
    },
    healthy: () => sender.status === 'ready' && performance.now() - answeredAt <= answeredWithinMs,
    close() {
      sender.disconnect()
      listener.disconnect()
      return Promise.resolve()
    },
  }
}
