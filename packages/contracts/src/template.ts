import { z } from 'zod'

/*
 * What a revision is made of, in the shape it is stored and worked with. The flat fields of the API are the
 * friendly face of this: containers are a list, resources a map and a workload has a kind from the start.
 * Values of environment variables are not in here: they are encrypted beside it.
 */

const probeTiming = {
  initialDelaySeconds: z.int().min(0).max(3600).default(0),
  periodSeconds: z.int().min(1).max(3600).default(10),
  timeoutSeconds: z.int().min(1).max(3600).default(1),
  successThreshold: z.int().min(1).max(100).default(1),
  failureThreshold: z.int().min(1).max(1000).default(3),
}

/** What an app speaks on its port: HTTP/1.1, or HTTP/2 without TLS from the first byte on. */
export const portProtocols = ['http1', 'h2c'] as const

export const probeTemplate = z.strictObject({
  check: z.discriminatedUnion('kind', [
    z.strictObject({
      kind: z.literal('httpGet'),
      path: z.string(),
      port: z.int().min(1).max(65_535).optional(),
      headers: z.array(z.strictObject({ name: z.string(), value: z.string() })).default([]),
    }),
    z.strictObject({ kind: z.literal('tcpSocket'), port: z.int().min(1).max(65_535).optional() }),
    z.strictObject({
      kind: z.literal('grpc'),
      port: z.int().min(1).max(65_535).optional(),
      service: z.string().optional(),
    }),
  ]),
  ...probeTiming,
})
export type ProbeTemplate = z.infer<typeof probeTemplate>

export const containerTemplate = z.strictObject({
  name: z.literal('app'),
  /** The reference as the user wrote it; what runs is the revision's digest. */
  image: z.string(),
  command: z.array(z.string()),
  args: z.array(z.string()),
  ports: z
    .array(z.strictObject({ port: z.int().min(1).max(65_535), protocol: z.enum(portProtocols) }))
    .length(1),
  /** `cpu` in thousandths of a core, `memory` in bytes. */
  resources: z.strictObject({ cpu: z.int().positive(), memory: z.int().positive() }),
  /** Volumes of the service by name, and where the app finds them; absent when there are none. */
  volumes: z.array(z.strictObject({ name: z.string(), mountPath: z.string() })).optional(),
  readinessProbe: probeTemplate.optional(),
  startupProbe: probeTemplate.optional(),
  livenessProbe: probeTemplate.optional(),
})
export type ContainerTemplate = z.infer<typeof containerTemplate>

export const revisionTemplate = z.strictObject({
  kind: z.literal('http'),
  containers: z.array(containerTemplate).length(1),
  /** In-flight requests that one replica may have; 0 is unlimited. */
  concurrency: z.int().min(0).max(1000),
  timeoutSeconds: z.int().min(1).max(3600),
  /** Of a request's body; absent when there is no limit. */
  maxRequestBytes: z.int().positive().optional(),
  pool: z.string(),
  nodeSelector: z.record(z.string(), z.string()),
})
export type RevisionTemplate = z.infer<typeof revisionTemplate>

/** Seconds since the last request after which a replica steps down to the rung; "never" switches it off. */
export const idleSettings = z.strictObject({
  freezeAfterSeconds: z.union([z.number(), z.literal('never')]),
  parkAfterSeconds: z.union([z.number(), z.literal('never')]),
  coldAfterSeconds: z.union([z.number(), z.literal('never')]),
})
export type IdleSettings = z.infer<typeof idleSettings>

/** What the user asked for: `latest` follows, a revision's name is a pin. Percentages sum to 100. */
export const trafficTarget = z.strictObject({
  revision: z.string(),
  percent: z.int().min(0).max(100),
  tag: z.string().nullable(),
})
export type TrafficTarget = z.infer<typeof trafficTarget>

/**
 * immediate  all traffic of `latest` moves at once
 * gradual    it moves in steps, the next one after an interval
 * manual     it moves when somebody says so
 */
export const rolloutStrategies = ['immediate', 'gradual', 'manual'] as const
export type RolloutStrategy = (typeof rolloutStrategies)[number]

/** How a new revision gets the traffic of `latest`. What is absent is as in `rolloutDefaults`. */
export const rolloutSettings = z.strictObject({
  strategy: z.enum(rolloutStrategies),
  steps: z.array(z.int()).optional(),
  intervalSeconds: z.int().optional(),
  /** Percent of failed requests above which the traffic goes back by itself. */
  maxErrorPercent: z.union([z.int(), z.literal('never')]).optional(),
})
export type RolloutSettings = z.infer<typeof rolloutSettings>

export const rolloutDefaults = {
  strategy: 'immediate',
  /** Percent of the traffic of `latest`; a last step of 100 is implied. */
  steps: [1, 10, 25, 50, 100],
  intervalSeconds: 30,
  maxErrorPercent: 50,
} as const satisfies RolloutSettings

/** The settings with all that they leave out. */
export function wholeRollout(settings: RolloutSettings) {
  const { strategy, steps, intervalSeconds, maxErrorPercent } = settings
  return {
    strategy,
    steps: steps ?? rolloutDefaults.steps,
    intervalSeconds: intervalSeconds ?? rolloutDefaults.intervalSeconds,
    maxErrorPercent: maxErrorPercent ?? rolloutDefaults.maxErrorPercent,
  }
}

/** How far a deployment has shifted the traffic of `latest`. Times are RFC 3339. */
export const rolloutProgress = z.strictObject({
  /** The revision that had it before; null when nothing served. */
  previous: z.string().nullable(),
  /** How much of it the new revision has. */
  percent: z.int().min(0).max(100),
  /** When its first step was published, and when this one was. */
  startedAt: z.iso.datetime(),
  shiftedAt: z.iso.datetime(),
  /** When every router had acknowledged this share, null until then. */
  acknowledgedAt: z.iso.datetime().nullable(),
})
export type RolloutProgress = z.infer<typeof rolloutProgress>
/** Whether a client comes back to the replica that answered it before, as far as that is possible. */
export const sessionAffinities = ['none', 'cookie'] as const
export type SessionAffinity = (typeof sessionAffinities)[number]

/** The environment of a container, decrypted. Never logged, never in Redis, labels or error texts. */
export type Environment = Readonly<Record<string, string>>
