import { z } from 'zod'
import { revisionSuffixProblem, serviceNameLength } from '../names.ts'
import { portProtocols, rolloutDefaults, rolloutStrategies, sessionAffinities } from '../template.ts'
import { environmentSpec } from './environment.ts'
import { annotationMap, labelMap } from './label-map.ts'
import { nameField } from './name-field.ts'
import { probeSpec } from './probe.ts'
import { cpuQuantity, memoryQuantity } from './quantity-fields.ts'
import { trafficSpec } from './traffic.ts'
import { volumeMounts } from './volume.ts'

/** Accepted by later versions, refused by this one with words of its own. */
export const reservedFields: ReadonlySet<string> = new Set([
  'secrets',
  'containers',
  'gpu',
  'region',
  'schedule',
  'kind',
])

const serviceName = nameField(serviceNameLength)

const maxImageLength = 512
const maxWords = 256
/** As many as people look back over; each costs a row and its image on the nodes. */
export const defaultRevisionHistory = 20
const maxSuffixLength = 59
const words = z.array(z.string().max(32 * 1024)).max(maxWords)
const idleTime = z.union([z.number().min(1).max(31_536_000), z.literal('never')], {
  error: 'must be 1 to 31536000 seconds or "never"',
})

const idleSpec = z
  .strictObject({
    freezeAfterSeconds: idleTime.default(30),
    parkAfterSeconds: idleTime.default(900),
    coldAfterSeconds: idleTime.default(86_400),
  })
  .superRefine((idle, context) => {
    const rungs = ['freezeAfterSeconds', 'parkAfterSeconds', 'coldAfterSeconds'] as const
    let earlier: { rung: string; seconds: number } | undefined
    for (const rung of rungs) {
      const seconds = idle[rung]
      // A rung that is switched off is left out of the order.
      if (seconds === 'never') continue
      if (earlier !== undefined && seconds < earlier.seconds)
        context.addIssue({ code: 'custom', path: [rung], message: `must not be less than ${earlier.rung}` })
      earlier = { rung, seconds }
    }
  })

const rolloutSpec = z.strictObject({
  strategy: z.enum(rolloutStrategies).default(rolloutDefaults.strategy),
  steps: z
    .array(z.int().min(1).max(100))
    .min(1)
    .max(100)
    .default([...rolloutDefaults.steps])
    .superRefine((steps, context) => {
      for (const [index, step] of steps.entries())
        if (index > 0 && step <= (steps[index - 1] ?? 0))
          context.addIssue({ code: 'custom', path: [index], message: 'must be above the step before it' })
    }),
  intervalSeconds: z.int().min(1).max(86_400).default(rolloutDefaults.intervalSeconds),
  maxErrorPercent: z
    .union([z.int().min(0).max(99), z.literal('never')], { error: 'must be 0 to 99 percent or "never"' })
    .default(rolloutDefaults.maxErrorPercent),
})

/** 1 TiB: more than can be sent within the longest timeout. */
const maxRequestBytes = 2 ** 40

const settings = {
  image: z.string().min(1).max(maxImageLength),
  port: z.int().min(1).max(65_535).default(8080),
  protocol: z.enum(portProtocols).default('http1'),
  command: words.default([]),
  args: words.default([]),
  env: environmentSpec.prefault({}),
  cpu: cpuQuantity.default(1),
  memory: memoryQuantity.default('512Mi'),
  concurrency: z.int().min(0).max(1000).default(80),
  minScale: z.int().min(0).max(1000).default(0),
  maxScale: z.int().min(1).max(1000).default(20),
  revisionHistoryLimit: z.int().min(1).max(200).default(defaultRevisionHistory),
  sessionAffinity: z.enum(sessionAffinities).default('none'),
  timeoutSeconds: z.int().min(1).max(3600).default(300),
  maxRequestBytes: z
    .int()
    .min(1)
    .max(maxRequestBytes)
    .optional()
    .describe('the largest body of a request; without it a body may be as large as its app takes it'),
  idle: idleSpec.prefault({}),
  readinessProbe: probeSpec.optional(),
  startupProbe: probeSpec.optional(),
  livenessProbe: probeSpec.optional(),
  volumes: volumeMounts.default([]),
  pool: z.string().min(1).max(63).default('default'),
  nodeSelector: labelMap.prefault({}),
  traffic: trafficSpec.prefault([{ revision: 'latest', percent: 100 }]),
  labels: labelMap.prefault({}),
  annotations: annotationMap.prefault({}),
  revisionSuffix: z
    .string()
    .min(1)
    .max(maxSuffixLength)
    .optional()
    .describe('names the revision that this request makes: `blue` for `hello-blue`; not kept for later ones'),
  rollout: rolloutSpec.prefault({}),
}

/** What a user asks for: the flat, friendly form of a service with every default filled in. */
export const serviceSpec = z
  .strictObject({ name: serviceName, ...settings })
  .superRefine((spec, context) => {
    if (spec.minScale > spec.maxScale)
      context.addIssue({ code: 'custom', path: ['minScale'], message: 'must not be above maxScale' })
    // A volume is on one node, and two replicas would write over each other.
    if (spec.volumes.length > 0 && spec.maxScale !== 1)
      context.addIssue({
        code: 'custom',
        path: ['maxScale'],
        message: 'must be 1 for a service with volumes',
      })
    if (spec.volumes.length > 0 && spec.rollout.strategy !== 'immediate')
      context.addIssue({
        code: 'custom',
        path: ['rollout', 'strategy'],
        message: 'must be "immediate" for a service with volumes, which one replica has at a time',
      })
    // As in Kubernetes: an app starts once, and is alive with one answer.
    for (const name of ['startupProbe', 'livenessProbe'] as const)
      if ((spec[name]?.successThreshold ?? 1) !== 1)
        context.addIssue({ code: 'custom', path: [name, 'successThreshold'], message: 'must be 1' })
    const { name, revisionSuffix } = spec
    const problem = revisionSuffix === undefined ? undefined : revisionSuffixProblem(name, revisionSuffix)
    if (problem !== undefined)
      context.addIssue({ code: 'custom', path: ['revisionSuffix'], message: problem })
  })
  .meta({ id: 'ServiceSpec' })
export type ServiceSpec = z.infer<typeof serviceSpec>

/** What PUT takes: the path has the name already. */
export const serviceReplacement = z
  .strictObject({ name: serviceName.optional(), ...settings })
  .meta({ id: 'ServiceReplacement' })
