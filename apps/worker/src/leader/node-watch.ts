import type { NodeReachability, NodeUid } from '@berth/contracts'
import { decideHold } from '@berth/scheduler'
import type { Logger } from 'pino'
import type { NodeView } from './world-model.ts'

/*
 * Each node is pinged once a second, on its own: a hung engine delays nobody else.
 *
 * ready  until `missesUntilDown` pings in a row have failed or run into their deadline
 * down   until `answersUntilReady` in a row have succeeded and the node was verified (`onReturn`)
 */

const pingIntervalMs = 1000
const missesUntilDown = 3
const answersUntilReady = 2
const lossWindowMs = 30_000

export type NodeWatchOptions = {
  nodes(): readonly NodeView[]
  /** One ping with its own deadline of 2 s; rejects when the engine does not answer. */
  ping(node: NodeView): Promise<void>
  /** Reads what the engine is and holds before the node counts as ready again; rejects when that fails. */
  onReturn(node: NodeView): Promise<void>
  onChange(node: NodeView, reachability: NodeReachability, message: string | null): void
  /** Seen alive just now; called at most every 5 s per node. */
  onSeen(node: NodeView): void
  onHold(reason: string | null): void
  log: Logger
  now?: () => number
}

type Watched = {
  misses: number
  answers: number
  asking: boolean
  lostAt?: number
  seenAt?: number
  lastError?: string
}

export function startNodeWatch(options: NodeWatchOptions): { close(): void; held(): string | null } {
  const { log } = options
  const now = options.now ?? (() => performance.now())
  const watched = new Map<NodeUid, Watched>()
  let hold: string | null = null

  async function ask(node: NodeView, state: Watched): Promise<void> {
    try {
      await options.ping(node)
      state.misses = 0
      state.answers += 1
      delete state.lastError
      const first = state.seenAt === undefined
      if (node.reachability === 'down' && (first || state.answers >= answersUntilReady)) {
        await options.onReturn(node)
        delete state.lostAt
        options.onChange(node, 'ready', null)
        log.info({ node: node.name }, 'node is ready')
      }
      if (first || now() - (state.seenAt ?? 0) > 5000) {
        state.seenAt = now()
        options.onSeen(node)
      }
    } catch (error) {
      miss(node, state, error instanceof Error ? error.message : String(error))
    }
  }

  function miss(node: NodeView, state: Watched, message: string): void {
    state.answers = 0
    state.misses += 1
    if (node.reachability === 'ready' && state.misses >= missesUntilDown) {
      state.lostAt = now()
      log.warn({ node: node.name, reason: message }, 'node is down')
      options.onChange(node, 'down', message)
    } else if (node.reachability === 'down' && state.lastError !== message) {
      options.onChange(node, 'down', message)
    }
    state.lastError = message
  }

  function decide(): void {
    const nodes = options.nodes()
    const lost = nodes.filter((node) => {
      const lostAt = watched.get(node.uid)?.lostAt
      return node.reachability === 'down' && lostAt !== undefined && now() - lostAt < lossWindowMs
    }).length
    const stillDown = nodes.filter(
      (node) => node.reachability === 'down' && watched.get(node.uid)?.lostAt,
    ).length
    const decision = decideHold({ nodes: nodes.length, lost: hold === null ? lost : stillDown })
    const next = decision.hold ? decision.reason : null
    if (next === hold) return
    hold = next
    log.warn({ reason: next }, next === null ? 'rescheduling resumed' : 'rescheduling on hold')
    options.onHold(next)
  }

  const timer = setInterval(() => {
    const nodes = options.nodes()
    const present = new Set(nodes.map((node) => node.uid))
    for (const uid of watched.keys()) if (!present.has(uid)) watched.delete(uid)
    for (const node of nodes) {
      const state = watched.get(node.uid) ?? { misses: 0, answers: 0, asking: false }
      watched.set(node.uid, state)
      if (state.asking) continue
      state.asking = true
      void ask(node, state).finally(() => {
        state.asking = false
      })
    }
    decide()
  }, pingIntervalMs)

  return { close: () => clearInterval(timer), held: () => hold }
}
