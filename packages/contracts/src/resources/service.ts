import { z } from 'zod'
import { conditionStatuses } from '../states.ts'
import { idleSettings, portProtocols, rolloutSettings, sessionAffinities } from '../template.ts'
import { probeSpec } from './probe.ts'
import { volumeMounts } from './volume.ts'

const instant = z.iso.datetime()
const stringMap = z.record(z.string(), z.string())

export const condition = z
  .object({
    type: z.literal('Ready'),
    status: z.enum(conditionStatuses),
    reason: z.string(),
    message: z.string(),
    lastTransitionTime: instant,
  })
  .meta({ id: 'Condition' })

const target = { revision: z.string(), percent: z.int(), tag: z.string().nullable() }

export const serviceStatusView = z
  .object({
    observedGeneration: z.int(),
    conditions: z.array(condition),
    latestCreatedRevision: z.string().nullable(),
    latestReadyRevision: z.string().nullable(),
    traffic: z.array(z.object({ ...target, url: z.string() })),
    replicas: z.object({ desired: z.int(), running: z.int(), frozen: z.int(), parked: z.int() }),
  })
  .meta({ id: 'ServiceStatus' })

/** A service as the API answers it: the spec, who made it, and what is observed. */
export const serviceView = z
  .object({
    name: z.string(),
    image: z.string(),
    port: z.int(),
    protocol: z.enum(portProtocols),
    command: z.array(z.string()),
    args: z.array(z.string()),
    env: stringMap,
    cpu: z.union([z.number(), z.string()]),
    memory: z.string(),
    concurrency: z.int(),
    minScale: z.int(),
    maxScale: z.int(),
    revisionHistoryLimit: z.int(),
    sessionAffinity: z.enum(sessionAffinities),
    timeoutSeconds: z.int(),
    maxRequestBytes: z.int().optional(),
    idle: idleSettings,
    readinessProbe: probeSpec.optional(),
    startupProbe: probeSpec.optional(),
    livenessProbe: probeSpec.optional(),
    volumes: volumeMounts,
    pool: z.string(),
    nodeSelector: stringMap,
    traffic: z.array(z.object(target)),
    labels: stringMap,
    annotations: stringMap,
    rollout: rolloutSettings,
    uid: z.string(),
    project: z.string(),
    url: z.string(),
    generation: z.int(),
    createdAt: instant,
    updatedAt: instant,
    createdBy: z.string(),
    /** Set by a rollback: gets all traffic until the next deployment, whatever `traffic` says. */
    pinnedRevision: z.string().nullable(),
    /** The newest one. */
    deployment: z.object({ id: z.string() }).nullable(),
    status: serviceStatusView,
  })
  .meta({ id: 'Service' })
export type ServiceView = z.infer<typeof serviceView>

/** Empty: back to the newest ready revision before the one that serves now. */
export const rollbackRequest = z.strictObject({ revision: z.string().min(1).max(64).optional() })
