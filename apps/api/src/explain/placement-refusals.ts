import type { ExplanationFinding } from '@berth/contracts'
import { boundTo, type desired, type RevisionFacts } from '@berth/db'
import { refusalsByNode, type PlacementNode, type PlacementRequest } from '@berth/scheduler'

/** More nodes than these are counted only. */
const namedNodes = 20

/** `fits` is the name of a node that would take one more replica, null when none would. */
export type PlacementOutlook = { fits: string | null; refusals: ExplanationFinding[] }

/** Asks the filters that the worker places with, on what is reserved now, whether one more replica fits anywhere. */
export function placementOutlook(
  { nodes, volumes }: Pick<desired.ExplanationFacts, 'nodes' | 'volumes'>,
  revision: RevisionFacts,
): PlacementOutlook {
  const nodeName = (uid: string) => nodes.find((node) => node.uid === uid)?.name
  const known = nodes.map(placementNode)
  const refusals = refusalsByNode(
    { ...placementRequest(revision), boundTo: boundTo(revision.template, volumes, nodeName) },
    known,
  )
  const refused = new Set(refusals.map(({ node }) => node.id))
  // Nodes of other pools were never meant: they are worth one sentence.
  const meant = refusals.filter(({ filter }) => filter !== 'pool')
  const elsewhere = refusals.length - meant.length
  const finding = (message: string, node?: string): ExplanationFinding => ({
    about: 'placement',
    severity: 'error',
    revision: revision.name,
    ...(node === undefined ? {} : { node }),
    message,
  })
  const { pool } = revision.template
  return {
    fits: known.find(({ id }) => !refused.has(id))?.name ?? null,
    refusals: [
      ...meant
        .slice(0, namedNodes)
        .map(({ node, message }) => finding(`${node.name}: ${message}`, node.name)),
      ...(meant.length > namedNodes
        ? [finding(`${meant.length - namedNodes} more nodes refuse it too.`)]
        : []),
      ...(elsewhere > 0 ? [finding(`${counted(elsewhere)}: not in pool ${pool}`)] : []),
      ...(known.length === 0 ? [finding('No node is registered.')] : []),
    ],
  }
}

function placementRequest(revision: RevisionFacts): PlacementRequest {
  const { template, architectures } = revision
  const sum = (key: 'cpu' | 'memory') =>
    template.containers.reduce((total, { resources }) => total + resources[key], 0)
  return {
    revision: revision.name,
    serviceId: '',
    pool: template.pool,
    nodeSelector: template.nodeSelector,
    architecture: architectures.length > 0 ? architectures : undefined,
    cpuMillis: sum('cpu'),
    memoryBytes: sum('memory'),
  }
}

/** For filters only: what merely ranks nodes is left at nothing. */
function placementNode({ uid, architecture, ...node }: desired.ExplainedNode): PlacementNode {
  const unranked = { hasImage: false, frozenReplicas: 0, replicasOfService: 0, recentFailures: 0 }
  return { ...node, ...unranked, id: uid, architecture: architecture ?? undefined }
}

function counted(nodes: number): string {
  return nodes === 1 ? '1 node' : `${nodes} nodes`
}
