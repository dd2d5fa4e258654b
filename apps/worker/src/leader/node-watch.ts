import type { NodeReachability, NodeUid } from '@berth/contracts'
import { answersUntilReady, decideHold, lossMemoryMs, restartBackoffMs } from '@berth/scheduler'
import type { Logger } from 'pino'
import type { NodeView } from './world-model.ts'

/*
 * Each node is pinged once a second, on its own: a hung engine delays nobody else.
 *
 * ready  until `missesUntilDown` pings in a row have failed, or none was answered for `silentRoundsUntilDown` rounds:
 *        an engine that hangs lets every ping run into its deadline
 * down   until two in a row have succeeded, or more where the node was lost again and again, and it was verified
 *        (`onReturn`), which is tried after a back-off when it failed
 */

const pingIntervalMs = 1000
const missesUntilDown = 3
/** Rounds and not time: a leader that did not run itself has heard nobody. */
const silentRoundsUntilDown = 5
const lossWindowMs = 30_000
/** Soon enough for an operator who has just put right why the node was refused. */
const maxVerifyBackoffMs = 15_000

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

export type NodeWatch = {
  close(): void
  /** Why nothing is rescheduled now; null normally. */
  held(): string | null
  /** Forgets what was seen of a node: whoever answers next is met for the first time. */
  forget(node: NodeUid): void
}

type Watched = {
  misses: number
  answers: number
  silentRounds: number
  asking: boolean
  /** Failed verifications in a row, and when the next may be tried. */
  refusals: number
  verifyAt: number
  lostAt?: number
  /** When it was lost, within `lossMemoryMs`. */
  losses: number[]
  seenAt?: number
  lastError?: string
}

export function startNodeWatch(options: NodeWatchOptions): NodeWatch {
  const { log } = options
  const now = options.now ?? (() => performance.now())
  const watched = new Map<NodeUid, Watched>()
  let hold: string | null = null

  /** The node as it is by now, undefined when it is gone or was forgotten while it was asked. */
  function latest({ uid }: NodeView, state: Watched): NodeView | undefined {
    if (watched.get(uid) !== state) return undefined
    return options.nodes().find((node) => node.uid === uid)
  }

  async function ask(asked: NodeView, state: Watched): Promise<void> {
    try {
      await options.ping(asked)
      const node = latest(asked, state)
      if (node === undefined) return
      state.misses = 0
      state.answers += 1
      state.silentRounds = 0
      delete state.lastError
      const first = state.seenAt === undefined
      if (node.reachability === 'down' && (first || isSteady(node, state))) await takeBack(node, state)
      if (first || now() - (state.seenAt ?? 0) > 5000) {
        state.seenAt = now()
        options.onSeen(node)
      }
    } catch (error) {
      miss(asked, state, error instanceof Error ? error.message : String(error))
    }
  }

  /** Whether it has answered for long enough; says so once where that takes longer than usual. */
  function isSteady(node: NodeView, state: Watched): boolean {
    state.losses = state.losses.filter((at) => now() - at < lossMemoryMs)
    const losses = state.losses.length
    const alone = !options
      .nodes()
      .some(({ uid, reachability }) => uid !== node.uid && reachability === 'ready')
    const answers = answersUntilReady({ losses, alone })
    if (state.answers >= answers) return true
    if (state.answers === 1 && answers > answersUntilReady({ losses: 0, alone }))
      options.onChange(
        node,
        'down',
        `it was lost ${losses} times within ${lossMemoryMs / 60_000} minutes: ready again after ${answers} s without a miss`,
      )
    return false
  }

  async function takeBack(node: NodeView, state: Watched): Promise<void> {
    if (now() < state.verifyAt) return
    try {
      await options.onReturn(node)
    } catch (error) {
      state.refusals += 1
      state.verifyAt = now() + Math.min(restartBackoffMs(state.refusals, 0), maxVerifyBackoffMs)
      throw error
    }
    if (latest(node, state) === undefined) return
    state.refusals = 0
    delete state.lostAt
    options.onChange(node, 'ready', null)
    log.info({ node: node.name }, 'node is ready')
  }

  function miss(asked: NodeView, state: Watched, message: string): void {
    const node = latest(asked, state)
    if (node === undefined) return
    state.answers = 0
    state.misses += 1
    if (node.reachability === 'ready' && state.misses >= missesUntilDown) lose(node, state, message)
    else if (node.reachability === 'down' && state.lastError !== message)
      options.onChange(node, 'down', message)
    state.lastError = message
  }

  function lose(node: NodeView, state: Watched, message: string): void {
    state.lostAt = now()
    state.losses.push(state.lostAt)
    log.warn({ node: node.name, reason: message }, 'node is down')
    options.onChange(node, 'down', message)
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
    // So many at once are rather the leader's own: they say nothing of the link of a node.
    if (decision.hold)
      for (const state of watched.values())
        state.losses = state.losses.filter((at) => now() - at >= lossWindowMs)
    if (next === hold) return
    hold = next
    log.warn({ reason: next }, next === null ? 'rescheduling resumed' : 'rescheduling on hold')
    options.onHold(next)
  }

  function startRound(node: NodeView): void {
    const state = watched.get(node.uid) ?? unseen()
    watched.set(node.uid, state)
    state.silentRounds += 1
    if (node.reachability === 'ready' && state.silentRounds >= silentRoundsUntilDown) {
      state.answers = 0
      lose(node, state, 'the engine does not answer')
    }
    if (state.asking) return
    state.asking = true
    void ask(node, state).finally(() => {
      state.asking = false
    })
  }

  const timer = setInterval(() => {
    const nodes = options.nodes()
    const present = new Set(nodes.map((node) => node.uid))
    for (const uid of watched.keys()) if (!present.has(uid)) watched.delete(uid)
    for (const node of nodes) startRound(node)
    decide()
  }, pingIntervalMs)

  return {
    close: () => clearInterval(timer),
    held: () => hold,
    forget: (node) => void watched.delete(node),
  }
}

function unseen(): Watched {
  return { misses: 0, answers: 0, silentRounds: 0, asking: false, losses: [], refusals: 0, verifyAt: 0 }
}
