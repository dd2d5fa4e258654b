import {
  berthLabels,
  type ContainerRuntime,
  type ContainerSummary,
  type Fence,
  type NetworkState,
} from '@berth/engine'
import type { Logger } from 'pino'
import { isLeaseLost } from '../replicas/index.ts'
import type { NodeLanes } from './node-lanes.ts'
import type { NodeView } from './world-model.ts'

/** Younger containers may belong to a start whose row this leader has not read yet. */
export const minGarbageAgeMs = 5 * 60_000

/** What the database knows to be somebody's. Read after the engine was listed, so nothing new looks like garbage. */
export type Belongings = {
  /** Replicas and spare sandboxes that have a row, on any node. */
  owners: ReadonlySet<string>
  /** Names of project networks of this node. */
  networks: ReadonlySet<string>
}

export type GarbageOptions = {
  installation: string
  nodes(): readonly NodeView[]
  runtimeOf(node: NodeView): ContainerRuntime | undefined
  belongings(node: NodeView): Promise<Belongings>
  /** Whether volumes of the node are being read or written: then the helpers for that are no garbage. */
  transferring(node: NodeView): boolean
  /** Deletes rows that are past their time: quarantined ports, idempotency keys, old deployments. */
  collectRows(): Promise<void>
  lanes: NodeLanes
  fence: Fence
  log: Logger
  now?: () => number
}

/**
 * Starts one round over all nodes that answer, each by itself, and waits for none. Only what carries this installation's label is looked at; the decision
 * whether it belongs to somebody is the database's, since a label proves nothing.
 */
export async function collectGarbage(options: GarbageOptions): Promise<void> {
  for (const node of options.nodes())
    if (node.reachability === 'ready') options.lanes.run(node.uid, () => collectNode(options, node))
  await options.collectRows()
}

async function collectNode(options: GarbageOptions, node: NodeView): Promise<void> {
  const { installation, fence, log } = options
  const runtime = options.runtimeOf(node)
  if (!runtime) return
  const [containers, networks] = await Promise.all([
    runtime.list({ installation }),
    runtime.listNetworks(installation),
  ])
  const belongings = await options.belongings(node)
  const now = (options.now ?? Date.now)()
  const isBusy = ({ labels }: ContainerSummary) =>
    labels[berthLabels.role] === 'volume-helper' && options.transferring(node)
  const found = garbageContainers(containers, belongings, now).filter((container) => !isBusy(container))
  const unused = garbageNetworks(networks, containers, belongings)
  await removeEach(found, 'container', ({ id }) => runtime.remove(id, fence), { node: node.name, log })
  await removeEach(unused, 'network', ({ name }) => runtime.removeNetwork(name, fence), {
    node: node.name,
    log,
  })
}

/** One after the other. What cannot be removed keeps no other from it: the next round tries again. How many are left. */
export async function removeEach<Thing extends { name: string }>(
  things: readonly Thing[],
  what: 'container' | 'network',
  remove: (thing: Thing) => Promise<void>,
  { node, log }: { node: string; log: Logger },
): Promise<number> {
  let left = 0
  for (const thing of things) {
    try {
      await remove(thing)
      log.info({ node, [what]: thing.name }, `${what} without an owner removed`)
    } catch (error) {
      if (isLeaseLost(error)) throw error
      left += 1
      log.warn({ err: error, node, [what]: thing.name }, `${what} without an owner could not be removed`)
    }
  }
  return left
}

/** Those that are old enough and belong to nobody, in the order in which they may go. */
export function garbageContainers(
  containers: readonly ContainerSummary[],
  belongings: Belongings,
  now: number,
): ContainerSummary[] {
  return appsFirst(
    containers
      .filter((container) => now - container.createdAt >= minGarbageAgeMs)
      .filter((container) => !belongings.owners.has(container.labels['berth.replica'] ?? '')),
  )
}

/** Apps come before sandboxes: a sandbox with an app in it would leave that without a network. */
export function appsFirst(containers: readonly ContainerSummary[]): ContainerSummary[] {
  const isSandbox = (container: ContainerSummary) => (container.labels['berth.role'] === 'sandbox' ? 1 : 0)
  return containers.toSorted((a, b) => isSandbox(a) - isSandbox(b))
}

/** A network goes when no row names it and no container of the installation is left on the node that could use it. */
export function garbageNetworks(
  networks: readonly NetworkState[],
  containers: readonly ContainerSummary[],
  belongings: Belongings,
): NetworkState[] {
  const projects = new Set(containers.map((container) => container.labels['berth.project']))
  return networks
    .filter((network) => !belongings.networks.has(network.name))
    .filter((network) => !projects.has(network.labels['berth.project']))
}
