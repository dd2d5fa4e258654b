import {
  compareVersions,
  type HelloFrame,
  type LeaderFrame,
  type RouteDelta,
  type RouterFrame,
  type RouteSnapshot,
  type RouteVersion,
  type SlotsFrame,
  type SlotsHeld,
} from '@berth/contracts'
import type { RedisChannel } from '../redis/redis-channel.ts'
import type { LeaderChannel } from './leader-channel.ts'

/** While the direct way is down, the leader is greeted through Redis this often: it may be another one by now. */
const greetMs = 2000

export type LeaderLinkOptions = {
  router: string
  incarnation: string
  adminPort: number
  /** Tells a leader on the same host whether this process lives; undefined where it has no name. */
  process: HelloFrame['process']
  openDirect(events: {
    hello(): RouterFrame
    onFrame(frame: LeaderFrame): void
    onLed(led: boolean): void
  }): LeaderChannel | undefined
  openRedis(events: { onFrame(frame: LeaderFrame): void; onReady(): void }): RedisChannel | undefined
  version(): RouteVersion | undefined
  /** Takes over a table or a change; `gap` asks for the whole table. */
  onRoutes(frame: RouteSnapshot | RouteDelta): 'applied' | 'stale' | 'gap'
  lingering(): string[]
  /** Everything that the router may use. */
  slots(): SlotsHeld
  onSlots(frame: SlotsFrame): void
  /** The leader has answered the hello; what it says of slots has come before. */
  onAnswered(): void
}

export type LeaderLink = {
  send(frame: RouterFrame): void
  /** Tells the leader which version is served and which withdrawn replicas still have something here. */
  acknowledge(): void
  close(): Promise<void>
}

/** The leader, over whichever way reaches it: the direct one, Redis while that is down. */
export function openLeaderLink(options: LeaderLinkOptions): LeaderLink {
  function hello(): RouterFrame {
    const version = options.version()
    const { router, incarnation, adminPort, process } = options
    return {
      kind: 'hello',
      router,
      incarnation,
      adminPort,
      slots: options.slots(),
      ...(version ? { version } : {}),
      ...(process ? { process } : {}),
    }
  }

  function send(frame: RouterFrame): void {
    if (!direct?.send(frame)) redis?.send(frame)
  }

  function acknowledge(): void {
    const version = options.version()
    if (version) send({ kind: 'acknowledge', version, lingering: options.lingering() })
  }

  function take(frame: LeaderFrame): void {
    if (frame.kind === 'slots' && frame.router === options.router) options.onSlots(frame)
    if (frame.kind !== 'snapshot' && frame.kind !== 'delta') return
    const result = options.onRoutes(frame)
    if (result === 'applied') acknowledge()
    else if (result === 'gap') send({ kind: 'resync' })
  }

  /** Every router's hello is answered for all of them, so the table that is served comes again and again. */
  function takeThroughRedis(frame: LeaderFrame): void {
    if (direct?.led()) return
    const version = options.version()
    const served = frame.kind === 'snapshot' && version && compareVersions(frame.version, version) === 0
    if (served) acknowledge()
    else take(frame)
  }

  async function greetThroughRedis(): Promise<void> {
    if (!redis || direct?.led()) return
    const stored = await redis.storedSnapshot()
    if (stored) takeThroughRedis(stored)
    redis.send(hello())
  }

  const redis = options.openRedis({
    onFrame: takeThroughRedis,
    onReady: () => void greetThroughRedis(),
  })
  const direct = options.openDirect({
    hello,
    onFrame(frame) {
      if (frame.kind === 'snapshot') options.onAnswered()
      take(frame)
    },
    onLed(led) {
      if (!led) void greetThroughRedis()
    },
  })
  const greeting = setInterval(() => void greetThroughRedis(), greetMs)

  return {
    send,
    acknowledge,
    async close() {
      clearInterval(greeting)
      await direct?.close()
      redis?.close()
    },
  }
}
