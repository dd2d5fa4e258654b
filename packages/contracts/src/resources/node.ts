import { isIP } from 'node:net'
import { z } from 'zod'
import { nodeReachability, nodeScheduling } from '../states.ts'
import { labelMap } from './label-map.ts'
import { nameField } from './name-field.ts'

const pem = z
  .string()
  .min(1)
  .max(64 * 1024)

/** For nodes and pools. */
export const platformName = nameField({ min: 1, max: 63 })

/** Without a zone (`fe80::1%eth0`): that means an interface of one machine, and no URL can hold it. */
const ipAddress = z
  .string()
  .refine(
    (text) => isIP(text) !== 0 && !text.includes('%'),
    'must be an IP address without a zone, on which replicas are published and reached',
  )

const capacityOverride = z.strictObject({
  cpu: z.number().positive().max(4096),
  memory: z.string(),
})

const settings = {
  endpoint: z.string().min(1).max(512),
  address: ipAddress,
  pool: z.string().min(1).max(63),
  labels: labelMap,
  tls: z.strictObject({ ca: pem, cert: pem, key: pem }),
  scheduling: z.enum(nodeScheduling),
  /** Instead of what the engine reports; needed where several engines share one machine. */
  capacity: capacityOverride,
  /** Held back for the system; default max(512Mi, 10 %). */
  systemReserved: z.string(),
}

export const nodeSpec = z
  .strictObject({
    name: platformName,
    endpoint: settings.endpoint,
    address: settings.address.optional(),
    pool: settings.pool.default('default'),
    labels: settings.labels.prefault({}),
    tls: settings.tls.optional(),
    scheduling: settings.scheduling.default('active'),
    capacity: settings.capacity.nullable().default(null),
    systemReserved: settings.systemReserved.nullable().default(null),
  })
  .meta({ id: 'NodeSpec' })
export type NodeSpec = z.infer<typeof nodeSpec>

/** JSON merge patch: what is absent stays, null takes an optional field away. */
export const nodePatch = z.strictObject({
  endpoint: settings.endpoint.optional(),
  address: settings.address.optional(),
  pool: settings.pool.optional(),
  labels: z.record(z.string(), z.string().nullable()).optional(),
  tls: settings.tls.nullable().optional(),
  scheduling: settings.scheduling.optional(),
  capacity: settings.capacity.nullable().optional(),
  systemReserved: settings.systemReserved.nullable().optional(),
})
export type NodePatch = z.infer<typeof nodePatch>

/** An absent body asks for the same as `{}`. */
export const nodeDrainRequest = z
  .strictObject({
    /** Drain although what runs there would not fit elsewhere: what fits nowhere stays and serves. */
    force: z.boolean().default(false),
  })
  .meta({ id: 'NodeDrainRequest' })

const nodeDrainView = z.object({
  startedAt: z.iso.datetime(),
  /** Replicas that stood there when the drain began. */
  total: z.int(),
  moved: z.int(),
  left: z.int(),
  /** The service and what the drain waits for, in words; null when nothing is left. */
  waitingFor: z.string().nullable(),
  /** Null while nobody can tell: no node was found yet for what is left, or it has only requests to end, and the like. */
  etaSeconds: z.int().nullable(),
  /** What the estimate follows from: the pace so far, or before anything has moved how long starts take. */
  etaFrom: z.enum(['starts', 'pace']).nullable(),
})
export type NodeDrainView = z.infer<typeof nodeDrainView>

const capacityView = z.object({ cpu: z.number(), memory: z.string() })

export const nodeView = z
  .object({
    name: z.string(),
    uid: z.string(),
    generation: z.int(),
    endpoint: z.string(),
    address: z.string(),
    pool: z.string(),
    labels: z.record(z.string(), z.string()),
    /** Whether keys for mutual TLS are stored; the keys themselves are never returned. */
    tls: z.boolean(),
    scheduling: z.enum(nodeScheduling),
    /** Null unless the node is drained. */
    drain: nodeDrainView.nullable(),
    capacity: capacityView.nullable(),
    systemReserved: z.string().nullable(),
    deleting: z.boolean(),
    createdAt: z.iso.datetime(),
    updatedAt: z.iso.datetime(),
    status: z.object({
      reachability: z.enum(nodeReachability),
      message: z.string().nullable(),
      capacity: capacityView.nullable(),
      reserved: capacityView,
      /** How many stand on it, failed ones too until they are forgotten: a node with none can be deleted. */
      replicas: z.int(),
      /** The file system that holds the engine's images, as last measured; null until then. */
      disk: z.object({ totalBytes: z.int(), freeBytes: z.int(), at: z.iso.datetime() }).nullable(),
      engineVersion: z.string().nullable(),
      architecture: z.string().nullable(),
      lastSeenAt: z.iso.datetime().nullable(),
    }),
  })
  .meta({ id: 'Node' })
export type NodeView = z.infer<typeof nodeView>
