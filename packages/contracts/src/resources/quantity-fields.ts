import { z } from 'zod'
import {
  maxCpuMillis,
  maxMemoryBytes,
  memoryPattern,
  minCpuMillis,
  minMemoryBytes,
  parseCpu,
  parseMemory,
} from '../quantities.ts'

const cpuMessage = 'must be 0.05 to 64 cores, as a number or in thousandths such as "500m"'
const memoryMessage = 'must be 16Mi to 512Gi with one of the units Ki, Mi, Gi, k, M, G, such as "512Mi"'

/** Cores as a number (0.05 to 64) or thousandths as text ("500m"). */
export const cpuQuantity = z
  .union(
    [
      z
        .number()
        .min(minCpuMillis / 1000)
        .max(maxCpuMillis / 1000),
      z.string().regex(/^[0-9]{1,7}m$/),
    ],
    { error: cpuMessage },
  )
  .superRefine((value, context) => {
    const millis = parseCpu(value)
    if (millis !== undefined && millis >= minCpuMillis && millis <= maxCpuMillis) return
    context.addIssue({ code: 'custom', message: cpuMessage })
  })

/** Bytes with a unit (Ki, Mi, Gi, k, M, G), 16Mi to 512Gi; a bare number is refused. */
export const memoryQuantity = z
  .string({ error: memoryMessage })
  .superRefine((value, context) => {
    const bytes = parseMemory(value)
    if (bytes !== undefined && bytes >= minMemoryBytes && bytes <= maxMemoryBytes) return
    context.addIssue({ code: 'custom', message: memoryMessage })
  })
  .meta({ pattern: memoryPattern.source, description: '16Mi to 512Gi' })
