import type { NodeUid, ProjectUid } from '@berth/contracts'
import type { Fence } from '@berth/engine'
import type { SpareRow } from '@berth/db'
import type { Logger } from 'pino'
import {
  isLeaseLost,
  makeSpare,
  removeSpareSandbox,
  type ReplicaDeps,
  type ReplicaHost,
} from '../replicas/index.ts'

/*
 * Network set-up is two thirds of a start, so sandboxes are made ahead: `sparesPerKey` for every node, project and
 * container port that started something within the last ten minutes, once nothing is starting there.
 */

const sparesPerKey = 2
const keptMs = 10 * 60_000
const retryMs = 10_000

type SpareKey = {
  node: NodeUid
  projectUid: ProjectUid
  project: string
  containerPort: number
  address: string
}

export type SparePoolOptions = {
  deps: ReplicaDeps & { fence: Fence }
  hostOf(node: NodeUid): ReplicaHost | null
  /** Spares that no replica has taken. */
  freeSpares(): Promise<SpareRow[]>
  /** While something starts on the node, spares wait. */
  isStarting(node: NodeUid): boolean
  log: Logger
  now?: () => number
}

export type SparePool = {
  /** A replica of this kind was started or will soon be. */
  wanted(key: SpareKey): void
  /** Makes what is missing and removes what nobody has wanted for long; one round at a time. */
  fill(): Promise<void>
}

export function createSparePool(options: SparePoolOptions): SparePool {
  const { deps, log } = options
  const now = options.now ?? (() => performance.now())
  const keys = new Map<string, SpareKey & { wantedAt: number; notBefore: number }>()
  const startedAt = now()
  let filling = false

  async function round(): Promise<void> {
    const spares = await options.freeSpares()
    const count = new Map<string, number>()
    for (const spare of spares) {
      const id = idOf(spare.nodeUid, spare.projectUid, spare.containerPort)
      count.set(id, (count.get(id) ?? 0) + 1)
      const known = keys.get(id)
      const unwanted = known === undefined ? now() - startedAt > keptMs : now() - known.wantedAt > keptMs
      if (unwanted) await discard(spare)
    }
    for (const [id, key] of keys) {
      if (now() - key.wantedAt > keptMs) keys.delete(id)
      else if ((count.get(id) ?? 0) < sparesPerKey && now() >= key.notBefore) await make(key)
    }
  }

  async function discard(spare: SpareRow): Promise<void> {
    const host = options.hostOf(spare.nodeUid as NodeUid)
    if (host !== null) await removeSpareSandbox(deps, host, spare)
  }

  async function make(key: SpareKey & { notBefore: number }): Promise<void> {
    const host = options.hostOf(key.node)
    if (host === null || options.isStarting(key.node)) return
    try {
      await makeSpare(deps, host, key)
    } catch (error) {
      if (isLeaseLost(error)) throw error
      key.notBefore = now() + retryMs
      log.warn({ err: error, node: host.name }, 'spare sandbox could not be made')
    }
  }

  return {
    wanted(key) {
      const id = idOf(key.node, key.projectUid, key.containerPort)
      keys.set(id, { ...key, wantedAt: now(), notBefore: keys.get(id)?.notBefore ?? 0 })
    },
    async fill() {
      if (filling) return
      filling = true
      try {
        await round()
      } finally {
        filling = false
      }
    },
  }
}

function idOf(node: string, project: string, port: number): string {
  return `${node} ${project} ${port}`
}
