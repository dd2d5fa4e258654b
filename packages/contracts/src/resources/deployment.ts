import { z } from 'zod'
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
  })
  .meta({ id: 'Deployment' })
export type DeploymentView = z.infer<typeof deploymentView>

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
