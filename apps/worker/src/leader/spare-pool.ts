import type { NodeUid, ProjectUid } from '@berth/contracts'
import type { ContainerSummary, Fence } from '@berth/engine'
import type { SpareRow } from '@berth/db'
import type { Logger } from 'pino'
import {
  isLeaseLost,
  makeSpare,
  removeSpareSandbox,
  type ReplicaDeps,
  type ReplicaHost,
} from '../replicas/index.ts'
import type { NodeLanes } from './node-lanes.ts'

/*
 * Network set-up is two thirds of a start, so sandboxes are made ahead: `sparesPerKey` for every node, project and
 * container port that started something within the last ten minutes, once nothing is starting there.
 */

const sparesPerKey = 2
const keptMs = 10 * 60_000
const retryMs = 10_000

/** What a spare can be used for. */
export type SpareKind = { node: NodeUid; projectUid: ProjectUid; containerPort: number }

type SpareKey = SpareKind & { project: string; address: string }

type Try = { wantedAt: number; notBefore: number }

export type SparePoolOptions = {
  deps: ReplicaDeps & { fence: Fence }
  hostOf(node: NodeUid): ReplicaHost | null
  /** Spares that no replica has taken. */
  freeSpares(): Promise<SpareRow[]>
  /** Whether a replica of this kind may still be placed there. */
  isUseful(kind: SpareKind): boolean
  /** While something starts on the node, spares wait. */
  isStarting(node: NodeUid): boolean
  lanes: NodeLanes
  log: Logger
  now?: () => number
}

export type SparePool = {
  /** A replica of this kind was started or will soon be. */
  wanted(key: SpareKey): void
  /** The node was asked for its containers at `askedAt` (as `now`), and holds these. */
  listed(node: NodeUid, containers: readonly ContainerSummary[], askedAt: number): void
  /**
   * Starts to make what is missing, and to remove what has died or nobody has wanted for long: on each node by itself,
   * one round at a time, at most one spare of a kind in each.
   */
  fill(): Promise<void>
}

export function createSparePool(options: SparePoolOptions): SparePool {
  const { deps, log } = options
  const now = options.now ?? (() => performance.now())
  const keys = new Map<string, SpareKey & Try>()
  const lists = new Map<NodeUid, { running: ReadonlySet<string>; askedAt: number }>()
  /** When each was first read from its row: a list that was asked for later has to have it. */
  const readSince = new Map<string, number>()
  const startedAt = now()

  /** Of one node: those that go, then those that are missing. */
  async function tend(spares: readonly SpareRow[], keysHere: readonly (SpareKey & Try)[]): Promise<void> {
    const isKept = (spare: SpareRow) => !isOver(spare) && isWanted(kindOf(spare))
    for (const spare of spares) if (!isKept(spare)) await discard(spare)
    const kept = spares.filter(isKept).map((spare) => idOf(kindOf(spare)))
    for (const key of keysHere) {
      const count = kept.filter((id) => id === idOf(key)).length
      if (count < sparesPerKey && now() >= key.notBefore) await make(key)
    }
  }

  function noteRead(spares: readonly SpareRow[]): void {
    const present = new Set(spares.map(({ id }) => id))
    for (const id of readSince.keys()) if (!present.has(id)) readSince.delete(id)
    for (const id of present) if (!readSince.has(id)) readSince.set(id, now())
  }

  /** Dead with its engine, say, or never finished: this pool makes nothing between its rounds. */
  function isOver({ id, nodeUid, containerId }: SpareRow): boolean {
    if (containerId === null) return true
    const list = lists.get(nodeUid as NodeUid)
    return list !== undefined && list.askedAt > (readSince.get(id) ?? now()) && !list.running.has(containerId)
  }

  function isWanted(kind: SpareKind): boolean {
    if (!options.isUseful(kind)) return false
    return now() - (keys.get(idOf(kind))?.wantedAt ?? startedAt) <= keptMs
  }

  async function discard(spare: SpareRow): Promise<void> {
    const host = options.hostOf(spare.nodeUid as NodeUid)
    if (host === null) return
    try {
      await removeSpareSandbox(deps, host, spare)
    } catch (error) {
      if (isLeaseLost(error)) throw error
      log.warn({ err: error, node: host.name }, 'spare sandbox could not be removed')
    }
  }

  async function make(key: SpareKey & Try): Promise<void> {
    const host = options.hostOf(key.node)
    if (host === null || options.isStarting(key.node) || !options.isUseful(key)) return
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
      const id = idOf(key)
      keys.set(id, { ...key, wantedAt: now(), notBefore: keys.get(id)?.notBefore ?? 0 })
    },
    listed(node, containers, askedAt) {
      const running = containers.filter(({ state }) => state === 'running').map(({ id }) => id)
      lists.set(node, { running: new Set(running), askedAt })
    },
    async fill() {
      // What such a node is making now looks unfinished in the rows, whatever it is when they are here.
      const making = new Set(
        [...keys.values()].map(({ node }) => node).filter((node) => options.lanes.isBusy(node)),
      )
      const spares = await options.freeSpares()
      noteRead(spares)
      for (const [id, { wantedAt }] of keys) if (now() - wantedAt > keptMs) keys.delete(id)
      const byNode = Map.groupBy(spares, ({ nodeUid }) => nodeUid as NodeUid)
      const keysOf = Map.groupBy(keys.values(), ({ node }) => node)
      for (const node of new Set([...byNode.keys(), ...keysOf.keys()]))
        if (!making.has(node))
          options.lanes.run(node, () => tend(byNode.get(node) ?? [], keysOf.get(node) ?? []))
    },
  }
}

function kindOf({ nodeUid, projectUid, containerPort }: SpareRow): SpareKind {
  return { node: nodeUid as NodeUid, projectUid: projectUid as ProjectUid, containerPort }
}

function idOf({ node, projectUid, containerPort }: SpareKind): string {
  return `${node} ${projectUid} ${containerPort}`
}
