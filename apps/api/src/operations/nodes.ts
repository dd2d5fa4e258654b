import {
  formatMemory,
  labelMap,
  parseMemory,
  type NodePatch,
  type NodeSpec,
  type NodeView,
} from '@berth/contracts'
import { desired, type Transaction } from '@berth/db'
import { isEngineError, parseEndpoint, type EngineEndpoint, type Tls } from '@berth/engine'
import { BlockList, isIP } from 'node:net'
import { isDeepStrictEqual } from 'node:util'
import { z } from 'zod'
import { ApiError, invalidField, notFound } from '../api-error.ts'
import type { ApiContext } from '../context.ts'
import { entityTag, requireMatch } from '../http/entity-tag.ts'
import { parseBody } from '../http/parse-with.ts'
import { changedColumns } from './changed-columns.ts'
import { mergePatch } from './merge-patch.ts'
import { drainView, requireRoomElsewhere } from './node-drain.ts'

/** Throws `ApiError` invalid-field or already-exists. */
export async function registerNode(
  context: ApiContext,
  tx: Transaction,
  spec: NodeSpec,
): Promise<desired.NodePicture> {
  const endpoint = checkEndpoint(spec.endpoint, spec.tls)
  await requirePool(tx, spec.pool)
  if ((await desired.findNodeForUpdate(tx, spec.name)) !== undefined)
    throw new ApiError('already-exists', `A node "${spec.name}" exists already.`)
  const uid = desired.newNodeUid()
  await desired.insertNodeRow(tx, {
    uid,
    name: spec.name,
    endpoint: spec.endpoint,
    address: checkAddress(spec.address ?? defaultAddress(endpoint)),
    pool: spec.pool,
    labels: spec.labels,
    tls: sealTls(context, uid, spec.tls),
    scheduling: spec.scheduling,
    capacity: capacityColumn(spec.capacity),
    systemReservedBytes: memoryColumn('systemReserved', spec.systemReserved),
  })
  return await readNode(tx, spec.name)
}

/** `changed` is false when nothing was written. */
export type NodeChange = { picture: desired.NodePicture; changed: boolean }

/**
 * JSON merge patch. Throws `ApiError` not-found, invalid-field, precondition-failed, in-use, being-deleted, or no-room
 * for a drain that is not forced.
 */
export async function changeNode(
  context: ApiContext,
  tx: Transaction,
  name: string,
  patch: NodePatch,
  ifMatch: string | undefined,
  { force }: { force: boolean } = { force: false },
): Promise<NodeChange> {
  const node = await lockNode(tx, name, ifMatch)
  if (patch.endpoint !== undefined || patch.tls !== undefined) checkEndpointChange(node, patch)
  if (patch.pool !== undefined) await requirePool(tx, patch.pool)
  if (patch.address !== undefined && patch.address !== node.address) await requireEmpty(tx, node)
  const changes = changedColumns(node, patchedColumns(context, node, patch))
  if (changes?.scheduling === 'draining' && !force) await requireRoomElsewhere(tx, node)
  if (changes !== undefined) await desired.updateNodeRow(tx, node.uid, changes)
  return { picture: await readNode(tx, name), changed: changes !== undefined }
}

function patchedColumns(
  context: ApiContext,
  node: desired.NodeRow,
  patch: NodePatch,
): Partial<desired.DesiredNode> {
  const { endpoint, address, pool, labels, tls, scheduling, capacity, systemReserved } = patch
  return {
    ...(endpoint === undefined ? {} : { endpoint }),
    ...(address === undefined ? {} : { address: checkAddress(address) }),
    ...(pool === undefined ? {} : { pool }),
    ...(labels === undefined ? {} : { labels: mergeLabels(node.labels, labels) }),
    ...(tls === undefined || hasTls(context, node, tls)
      ? {}
      : { tls: sealTls(context, node.uid, tls ?? undefined) }),
    ...(scheduling === undefined ? {} : { scheduling }),
    ...(capacity === undefined ? {} : { capacity: capacityColumn(capacity) }),
    ...(systemReserved === undefined
      ? {}
      : { systemReservedBytes: memoryColumn('systemReserved', systemReserved) }),
  }
}

/** Only an empty node may go; the leader cleans its engine and takes the row away. */
export async function removeNode(tx: Transaction, name: string, ifMatch: string | undefined): Promise<void> {
  const node = await desired.findNodeForUpdate(tx, name)
  if (node === undefined) throw notFound('node', name)
  requireMatch(ifMatch, entityTag(node))
  if (node.deletedAt !== null) return
  await requireEmpty(tx, node)
  await requireNoVolumes(tx, node)
  await desired.markNodeDeleted(tx, node.uid)
}

export function nodeView(picture: desired.NodePicture): NodeView {
  const { node, status, reserved, replicas } = picture
  return {
    name: node.name,
    uid: node.uid,
    generation: node.generation,
    endpoint: node.endpoint,
    address: node.address,
    pool: node.pool,
    labels: node.labels,
    tls: node.tls !== null,
    scheduling: node.scheduling,
    drain: drainView(picture),
    capacity: capacityView(node.capacity?.cpuMillis, node.capacity?.memoryBytes),
    systemReserved: node.systemReservedBytes === null ? null : formatMemory(node.systemReservedBytes),
    deleting: node.deletedAt !== null,
    createdAt: node.createdAt.toISOString(),
    updatedAt: node.updatedAt.toISOString(),
    status: {
      reachability: status?.reachability ?? 'down',
      message: status === null ? 'The node has not been reached yet.' : status.message,
      capacity: capacityView(status?.cpuMillis, status?.memoryBytes),
      reserved: { cpu: reserved.cpuMillis / 1000, memory: formatMemory(reserved.memoryBytes) },
      replicas,
      disk: diskView(status),
      engineVersion: status?.engineVersion ?? null,
      architecture: status?.architecture ?? null,
      lastSeenAt: status?.lastSeenAt?.toISOString() ?? null,
    },
  }
}

function diskView(status: desired.NodePicture['status']): NodeView['status']['disk'] {
  if (status?.diskAt == null) return null
  const { diskTotalBytes, diskFreeBytes, diskAt } = status
  return { totalBytes: diskTotalBytes ?? 0, freeBytes: diskFreeBytes ?? 0, at: diskAt.toISOString() }
}

async function lockNode(
  tx: Transaction,
  name: string,
  ifMatch: string | undefined,
): Promise<desired.NodeRow> {
  const node = await desired.findNodeForUpdate(tx, name)
  if (node === undefined) throw notFound('node', name)
  requireMatch(ifMatch, entityTag(node))
  if (node.deletedAt !== null) throw new ApiError('being-deleted', `The node "${name}" is being deleted.`)
  return node
}

async function readNode(tx: Transaction, name: string): Promise<desired.NodePicture> {
  const picture = await desired.findNode(tx, name)
  if (picture === undefined) throw notFound('node', name)
  return picture
}

async function requirePool(tx: Transaction, pool: string): Promise<void> {
  if ((await desired.findPool(tx, pool)) === undefined)
    throw invalidField('pool', `there is no pool "${pool}"`)
}

async function requireEmpty(tx: Transaction, node: desired.NodeRow): Promise<void> {
  const count = await desired.countNodeReplicas(tx, node.uid)
  if (count === 0) return
  const words = count === 1 ? '1 replica stands' : `${count} replicas stand`
  throw new ApiError('in-use', `${words} on the node "${node.name}": drain it first.`)
}

/** Nothing takes data away but the word of who owns it. */
async function requireNoVolumes(tx: Transaction, node: desired.NodeRow): Promise<void> {
  const names = await desired.volumesOnNode(tx, node.uid)
  if (names.length === 0) return
  const words =
    names.length === 1
      ? `volume "${names[0]}" is`
      : `volumes ${names.map((name) => `"${name}"`).join(', ')} are`
  throw new ApiError(
    'in-use',
    `The ${words} on the node "${node.name}": delete ${names.length === 1 ? 'it' : 'them'} first.`,
  )
}

/** New keys replace the old ones; without `tls` in the patch the stored keys stay, whatever the endpoint. */
function checkEndpointChange(node: desired.NodeRow, patch: NodePatch): void {
  const endpoint = patch.endpoint ?? node.endpoint
  if (patch.tls !== undefined) checkEndpoint(endpoint, patch.tls ?? undefined)
  else checkEndpoint(endpoint, node.tls === null ? undefined : { ca: '', cert: '', key: '' })
}

function checkEndpoint(endpoint: string, tls: Tls | undefined): EngineEndpoint {
  try {
    return parseEndpoint(endpoint, tls)
  } catch (error) {
    if (!isEngineError(error, 'InvalidEndpoint')) throw error
    throw invalidField('endpoint', error.message)
  }
}

function defaultAddress(endpoint: EngineEndpoint): string {
  if (endpoint.kind === 'unix') return '127.0.0.1'
  if (isIP(endpoint.host) !== 0) return endpoint.host
  throw invalidField('address', 'is required where the endpoint is a host name')
}

const privateAddresses = new BlockList()
for (const [network, prefix] of [
  ['127.0.0.0', 8],
  ['10.0.0.0', 8],
  ['172.16.0.0', 12],
  ['192.168.0.0', 16],
  ['100.64.0.0', 10],
  ['198.18.0.0', 15],
] as const)
  privateAddresses.addSubnet(network, prefix, 'ipv4')
privateAddresses.addSubnet('fc00::', 7, 'ipv6')
privateAddresses.addAddress('::1', 'ipv6')

/** Replicas are published on private or loopback addresses only: the way in is the edge. */
function checkAddress(address: string): string {
  if (privateAddresses.check(address, isIP(address) === 6 ? 'ipv6' : 'ipv4')) return address
  throw invalidField('address', 'must be a private or loopback address')
}

function mergeLabels(labels: Record<string, string>, patch: unknown): Record<string, string> {
  return parseBody(z.object({ labels: labelMap }), { labels: mergePatch(labels, patch) }).labels
}

/** Sealing the same keys again gives other bytes. */
function hasTls(context: ApiContext, node: desired.NodeRow, tls: Tls | null): boolean {
  if (node.tls === null || tls === null) return node.tls === tls
  const stored: unknown = JSON.parse(context.keyring.openText(node.tls, desired.nodeTlsPurpose(node.uid)))
  return isDeepStrictEqual(stored, tls)
}

function sealTls(context: ApiContext, uid: string, tls: Tls | undefined): Buffer | null {
  if (tls === undefined) return null
  return context.keyring.seal(JSON.stringify(tls), desired.nodeTlsPurpose(uid))
}

function capacityColumn(capacity: NodeSpec['capacity']): { cpuMillis: number; memoryBytes: number } | null {
  if (capacity === null) return null
  const memoryBytes = memoryColumn('capacity.memory', capacity.memory) ?? 0
  return { cpuMillis: Math.round(capacity.cpu * 1000), memoryBytes }
}

function memoryColumn(path: string, text: string | null): number | null {
  if (text === null) return null
  const bytes = parseMemory(text)
  if (bytes !== undefined && Number.isSafeInteger(bytes)) return bytes
  throw invalidField(path, 'must be a size with one of the units Ki, Mi, Gi, k, M, G, such as "4Gi"')
}

function capacityView(cpuMillis: number | null | undefined, memoryBytes: number | null | undefined) {
  if (cpuMillis === null || cpuMillis === undefined) return null
  return { cpu: cpuMillis / 1000, memory: formatMemory(memoryBytes ?? 0) }
}
