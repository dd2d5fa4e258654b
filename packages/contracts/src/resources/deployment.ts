import { z } from 'zod'
import { rolloutProgress } from '../template.ts'
import { deploymentPhases, deploymentTriggers } from '../states.ts'

export const deploymentView = z
  .object({
    id: z.string(),
    service: z.string(),
    revision: z.string().nullable(),
    phase: z.enum(deploymentPhases),
    reason: z.string().nullable(),
    message: z.string().nullable(),
    trigger: z.enum(deploymentTriggers),
    createdBy: z.string(),
    startedAt: z.iso.datetime(),
    finishedAt: z.iso.datetime().nullable(),
    /** How far the traffic has moved, null before it has begun to. */
    rollout: rolloutProgress.nullable(),
    /** Why its traffic went back by itself after it had succeeded. */
    rolledBack: z.object({ at: z.iso.datetime(), reason: z.string(), message: z.string() }).nullable(),
    /** Takes no further step by itself. */
    paused: z.boolean(),
  })
  .meta({ id: 'Deployment' })
export type DeploymentView = z.infer<typeof deploymentView>

/** Empty: the next step; straight to all of it where the rollout is manual. */
export const promoteRequest = z.strictObject({ percent: z.int().min(1).max(100).optional() })

/** One step of a deployment; `node` is null where it concerns none. */
export const deploymentEventView = z
  .object({
    at: z.iso.datetime(),
    phase: z.enum(deploymentPhases),
    node: z.string().nullable(),
    message: z.string(),
  })
  .meta({ id: 'DeploymentEvent' })
export type DeploymentEventView = z.infer<typeof deploymentEventView>
