import { z } from 'zod'
import {
  maxCpuMillis,
  maxMemoryBytes,
  minCpuMillis,
  minMemoryBytes,
  parseCpu,
  parseMemory,
} from '../quantities.ts'

/** Cores as a number (0.05 to 64) or thousandths as text ("500m"). */
export const cpuQuantity = z.union([z.number(), z.string()]).superRefine((value, context) => {
  const millis = parseCpu(value)
  if (millis !== undefined && millis >= minCpuMillis && millis <= maxCpuMillis) return
  const message = `must be 0.05 to 64 cores, as a number or in thousandths such as "500m"`
  context.addIssue({ code: 'custom', message })
})

/** Bytes with a unit (Ki, Mi, Gi, k, M, G), 16Mi to 512Gi; a bare number is refused. */
export const memoryQuantity = z.string().superRefine((value, context) => {
  const bytes = parseMemory(value)
  if (bytes !== undefined && bytes >= minMemoryBytes && bytes <= maxMemoryBytes) return
  const message = 'must be 16Mi to 512Gi with one of the units Ki, Mi, Gi, k, M, G, such as "512Mi"'
  context.addIssue({ code: 'custom', message })
})
