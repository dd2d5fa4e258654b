import type { NodeDrainView } from '@berth/contracts'
import { desired, readPlaceableNodes, type PlaceableNode, type Transaction } from '@berth/db'
import { findMisfits, type Misfit, type Movers, type PlacementNode } from '@berth/scheduler'
import { ApiError } from '../api-error.ts'
import { drainEta } from './drain-eta.ts'
import { stageOf, type Stage } from './drain-stage.ts'

/**
 * Throws `ApiError` no-room when what runs on the node would not fit elsewhere, or nobody is left to wake what is
 * idle there. Asks what placement will ask, with the reservations of this moment.
 */
export async function requireRoomElsewhere(tx: Transaction, node: desired.NodeRow): Promise<void> {
  const leaving = (await desired.readLeavingReplicas(tx, [node.uid])).filter(
    ({ state }) => state !== 'draining',
  )
  if (leaving.length === 0) return
  const others = (await readPlaceableNodes(tx, [])).filter(({ uid }) => uid !== node.uid)
  const isLast = !others.some(
    ({ pool, scheduling, reachability }) =>
      pool === node.pool && scheduling === 'active' && reachability === 'ready',
  )
  if (isLast) throw noRoom(node, [`it is the last node of the pool "${node.pool}" that takes replicas`])
  // What is idle just goes: it is started elsewhere when somebody asks for it.
  const running = leaving.filter(({ rung }) => rung === 'running')
  const misfits = findMisfits(moversOf(node, running, others), others.map(placementNode))
  if (misfits.length > 0) throw noRoom(node, misfits.map(misfitWords))
}

/** How far the drain is; null when the node is not drained. */
export function drainView({ node, drain }: desired.NodePicture): NodeDrainView | null {
  if (drain === null || node.drainStartedAt === null) return null
  const { leaving, elapsedMs } = drain
  const total = Math.max(node.drainTotal ?? 0, leaving.length)
  const moved = total - leaving.length
  return {
    startedAt: node.drainStartedAt.toISOString(),
    total,
    moved,
    left: leaving.length,
    waitingFor: waitingWords(leaving),
    ...drainEta({ leaving, moved, elapsedMs }),
  }
}

/** The first stage that a replica is in, with how many are: "hello: a replica to start on n2 (and 3 more)". */
function waitingWords(leaving: readonly desired.LeavingReplica[]): string | null {
  const byStage = Map.groupBy(leaving, stageOf)
  for (const stage of ['placing', 'deploying', 'starting', 'draining'] as const) {
    const first = byStage.get(stage)?.[0]
    if (first === undefined) continue
    const more = leaving.length === 1 ? '' : ` (and ${leaving.length - 1} more)`
    return `${first.service}: ${stageWords(stage, first)}${more}`
  }
  return null
}

function stageWords(stage: Stage, { replacementOn }: desired.LeavingReplica): string {
  if (stage === 'placing') return 'a node for a replica in its place'
  if (stage === 'deploying') return 'its deployment to end'
  if (stage === 'draining') return 'requests to end'
  return replacementOn === null
    ? 'a start that is under way to end'
    : `a replica to start on ${replacementOn}`
}

function moversOf(
  { uid, name }: desired.NodeRow,
  running: readonly desired.LeavingReplica[],
  nodes: readonly PlaceableNode[],
): Movers[] {
  return [...Map.groupBy(running, ({ revisionUid }) => revisionUid).values()].flatMap((replicas) => {
    const first = replicas[0]
    if (first === undefined) return []
    const { template, architectures, revision, service } = first
    const sum = (key: 'cpu' | 'memory') =>
      template.containers.reduce((total, { resources }) => total + resources[key], 0)
    const volume = template.containers[0]?.volumes?.[0]?.name
    const request = {
      revision,
      serviceId: service,
      pool: template.pool,
      nodeSelector: template.nodeSelector,
      architecture: architectures.length > 0 ? architectures : undefined,
      // A volume is where its replica runs, and stays there.
      boundTo: volume === undefined ? undefined : { nodeId: uid, node: name, volume },
      cpuMillis: sum('cpu'),
      memoryBytes: sum('memory'),
    }
    const strategy = nodes.find(({ pool }) => pool === template.pool)?.strategy ?? 'spread'
    return [{ request, count: replicas.length, strategy }]
  })
}

/** Without what is only of interest for which node is the best. */
function placementNode(node: PlaceableNode): PlacementNode {
  const { uid, architecture, images: _images, ...rest } = node
  return {
    ...rest,
    id: uid,
    architecture: architecture ?? undefined,
    hasImage: false,
    frozenReplicas: 0,
    replicasOfService: 0,
    recentFailures: 0,
  }
}

function misfitWords({ movers: { request, count: all }, count, missing }: Misfit): string {
  const which = all === 1 ? request.revision : `${request.revision} (${count} of ${all} replicas)`
  return `${which}: ${missing}`
}

function noRoom(node: desired.NodeRow, reasons: readonly string[]): ApiError {
  return new ApiError(
    'no-room',
    `The node "${node.name}" is not drained: ${reasons.join('; ')}. Make room, or POST /nodes/${node.name}/drain with {"force": true}.`,
  )
}
