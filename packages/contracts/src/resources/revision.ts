import { z } from 'zod'
import { portProtocols } from '../template.ts'
import { probeSpec } from './probe.ts'
import { volumeMounts } from './volume.ts'

/** An immutable snapshot of a service's template, its image resolved to a digest. */
export const revisionView = z
  .object({
    name: z.string(),
    uid: z.string(),
    service: z.string(),
    number: z.int(),
    image: z.string(),
    imageDigest: z.string(),
    architectures: z.array(z.string()),
    port: z.int(),
    protocol: z.enum(portProtocols),
    command: z.array(z.string()),
    args: z.array(z.string()),
    cpu: z.union([z.number(), z.string()]),
    memory: z.string(),
    concurrency: z.int(),
    timeoutSeconds: z.int(),
    maxRequestBytes: z.int().optional(),
    readinessProbe: probeSpec.optional(),
    startupProbe: probeSpec.optional(),
    livenessProbe: probeSpec.optional(),
    volumes: volumeMounts,
    pool: z.string(),
    nodeSelector: z.record(z.string(), z.string()),
    createdAt: z.iso.datetime(),
    readyAt: z.iso.datetime().nullable(),
    failure: z.object({ reason: z.string(), message: z.string() }).nullable(),
  })
  .meta({ id: 'Revision' })
export type RevisionView = z.infer<typeof revisionView>
