import type { NodeUid } from '@berth/contracts'
import { boundTo, type PlaceableNode, type ReconcileSnapshot, type RevisionFacts } from '@berth/db'
import { placeReplicas, type PlacementNode, type PlacementRequest } from '@berth/scheduler'

export type Places = {
  nodes: { uid: NodeUid; name: string }[]
  /** Why not all were placed: the counted refusals in one line. */
  unplaceable: string | null
}

const recentFailureMs = 10 * 60_000

/** Nodes for `count` more replicas of the revision. Nodes where it failed are taken only when no other fits. */
export function findPlaces(
  snapshot: ReconcileSnapshot,
  revision: RevisionFacts,
  count: number,
  now: number,
): Places {
  const nodes = snapshot.nodes.map((node) => placementNode(snapshot, revision, node, now))
  const failedOn = new Map(
    nodes.filter(({ recentFailures }) => recentFailures > 0).map(({ id }) => [id, 'a start failed here']),
  )
  const strategy = snapshot.nodes.find(({ pool }) => pool === revision.template.pool)?.strategy ?? 'spread'
  const request = placementRequest(snapshot, revision)
  const elsewhere = placeReplicas({ ...request, excludedNodes: failedOn }, count, nodes, { strategy })
  const placements = elsewhere.every(({ kind }) => kind === 'placed')
    ? elsewhere
    : placeReplicas(request, count, nodes, { strategy })
  const unplaceable = placements.find((placement) => placement.kind === 'unplaceable')
  return {
    nodes: placements.flatMap((placement) => {
      const node = snapshot.nodes.find(({ uid }) => placement.kind === 'placed' && uid === placement.nodeId)
      return node ? [{ uid: node.uid, name: node.name }] : []
    }),
    unplaceable: unplaceable?.kind === 'unplaceable' ? unplaceable.summary : null,
  }
}

/** Why no node of the revision's pool can ever run its image, or null when one may. */
export function architectureProblem(snapshot: ReconcileSnapshot, revision: RevisionFacts): string | null {
  const nodes = snapshot.nodes.filter(({ pool }) => pool === revision.template.pool)
  const { architectures } = revision
  if (architectures.length === 0 || nodes.length === 0) return null
  const fits = nodes.some(({ architecture }) => architecture === null || architectures.includes(architecture))
  if (fits) return null
  const there = [...new Set(nodes.map(({ architecture }) => architecture))].join(', ')
  return `the image is built for ${architectures.join(', ')}, the nodes of pool ${revision.template.pool} are ${there}`
}

function placementRequest(snapshot: ReconcileSnapshot, revision: RevisionFacts): PlacementRequest {
  const { template, architectures } = revision
  const nodeName = (uid: string) => snapshot.nodes.find((node) => node.uid === uid)?.name
  return {
    revision: revision.name,
    serviceId: snapshot.service.uid,
    pool: template.pool,
    nodeSelector: template.nodeSelector,
    architecture: architectures.length > 0 ? architectures : undefined,
    boundTo: boundTo(template, snapshot.volumes, nodeName),
    ...resourcesOf(revision),
  }
}

/** What a replica of the revision takes from a node, all its containers together. */
export function resourcesOf({ template }: RevisionFacts): { cpuMillis: number; memoryBytes: number } {
  const sum = (key: 'cpu' | 'memory') =>
    template.containers.reduce((total, { resources }) => total + resources[key], 0)
  return { cpuMillis: sum('cpu'), memoryBytes: sum('memory') }
}

function placementNode(
  snapshot: ReconcileSnapshot,
  revision: RevisionFacts,
  node: PlaceableNode,
  now: number,
): PlacementNode {
  const here = snapshot.replicas.filter(({ nodeUid }) => nodeUid === node.uid)
  return {
    id: node.uid,
    name: node.name,
    pool: node.pool,
    labels: node.labels,
    scheduling: node.scheduling,
    reachability: node.reachability,
    capacity: node.capacity,
    systemReservedBytes: node.systemReservedBytes,
    reserved: node.reserved,
    architecture: node.architecture ?? undefined,
    overcommitCpu: node.overcommitCpu,
    diskFreeRatio: node.diskFreeRatio,
    hasImage: node.images.includes(revision.imageDigest),
    frozenReplicas: here.filter(({ revisionUid, rung }) => revisionUid === revision.uid && rung === 'frozen')
      .length,
    replicasOfService: here.filter(({ state }) => state === 'starting' || state === 'ready').length,
    recentFailures: here.filter(
      ({ revisionUid, failedAt }) =>
        revisionUid === revision.uid && failedAt !== null && now - failedAt.getTime() < recentFailureMs,
    ).length,
    startsUnderWay: node.startsUnderWay,
  }
}
