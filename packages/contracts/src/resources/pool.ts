import { z } from 'zod'
import { placementStrategies } from '../states.ts'
import { labelMap } from './label-map.ts'
import { platformName } from './node.ts'

const strategy = z.enum(placementStrategies)
/** How many times the cores of a node may be promised. */
const overcommitCpu = z.number().min(1).max(100)

export const poolSpec = z
  .strictObject({
    name: platformName,
    strategy: strategy.default('spread'),
    overcommitCpu: overcommitCpu.default(10),
    labels: labelMap.prefault({}),
  })
  .meta({ id: 'PoolSpec' })
export type PoolSpec = z.infer<typeof poolSpec>

export const poolPatch = z.strictObject({
  strategy: strategy.optional(),
  overcommitCpu: overcommitCpu.optional(),
  labels: z.record(z.string(), z.string().nullable()).optional(),
})
export type PoolPatch = z.infer<typeof poolPatch>

export const poolView = z
  .object({
    name: z.string(),
    uid: z.string(),
    generation: z.int(),
    strategy,
    overcommitCpu: z.number(),
    labels: z.record(z.string(), z.string()),
    createdAt: z.iso.datetime(),
    updatedAt: z.iso.datetime(),
  })
  .meta({ id: 'Pool' })
export type PoolView = z.infer<typeof poolView>
