import { leaderFrame, redisKeys, type LeaderFrame, type RouterFrame } from '@berth/contracts'
import { Redis } from 'ioredis'
import type { Logger } from 'pino'

export type RedisChannelOptions = {
  url: string
  installation: string
  router: string
  incarnation: string
  log: Logger
  onFrame(frame: LeaderFrame): void
  /** Redis answers, for the first time or again. */
  onReady(): void
}

export type RedisChannel = {
  /** Publishes a frame of this router; dropped when Redis does not answer. */
  send(frame: RouterFrame): void
  /** The table that the leader has left in Redis; undefined when there is none or Redis does not answer. */
  storedSnapshot(): Promise<LeaderFrame | undefined>
  close(): void
}

const longestDelayMs = 2000

/** The second way to the leader, over publish and subscribe. Whatever Redis does, nobody waits for it. */
export function openRedisChannel(options: RedisChannelOptions): RedisChannel {
  const { log, router, incarnation } = options
  const keys = redisKeys(options.installation)
  const retryStrategy = (times: number) => Math.min(50 * 2 ** Math.min(times, 10), longestDelayMs)
  const sender = new Redis(options.url, {
    retryStrategy,
    maxRetriesPerRequest: 1,
    commandTimeout: 1000,
    enableOfflineQueue: false,
  })
  const listener = new Redis(options.url, { retryStrategy, maxRetriesPerRequest: null })
  let down = false

  function note(error: unknown): void {
    if (!down) log.warn({ err: error }, 'redis is away')
    down = true
  }
  sender.on('error', note)
  sender.on('ready', () => {
    if (down) log.info('redis is back')
    down = false
    options.onReady()
  })
  listener.on('error', () => undefined)
  listener.on('message', (_channel, text) => {
    const frame = parseFrame(text)
    if (frame) options.onFrame(frame)
  })
  listener.subscribe(keys.leaderFrames).catch(note)

  return {
    send(frame) {
      if (sender.status !== 'ready') return
      sender.publish(keys.routerFrames, JSON.stringify({ router, incarnation, frame })).catch(note)
    },
    async storedSnapshot() {
      if (sender.status !== 'ready') return undefined
      const text = await sender.get(keys.routeSnapshot).catch(() => null)
      return text === null ? undefined : parseFrame(text)
    },
    close() {
      sender.disconnect()
      listener.disconnect()
    },
  }
}

function parseFrame(text: string): LeaderFrame | undefined {
  try {
    return leaderFrame.parse(JSON.parse(text))
  } catch {
    return undefined
  }
}
