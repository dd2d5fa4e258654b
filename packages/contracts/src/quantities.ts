const memoryUnits: Record<string, number> = {
  k: 1000,
  M: 1000 ** 2,
  G: 1000 ** 3,
  Ki: 1024,
  Mi: 1024 ** 2,
  Gi: 1024 ** 3,
}

export const minMemoryBytes = 16 * 1024 ** 2
export const maxMemoryBytes = 512 * 1024 ** 3
export const minCpuMillis = 50
export const maxCpuMillis = 64_000

/** Bytes of a memory quantity such as "512Mi" or "1.5G", or undefined when it is not one. No bare numbers. */
export function parseMemory(text: string): number | undefined {
  const match = /^([0-9]{1,9}(?:\.[0-9]{1,6})?)(Ki|Mi|Gi|k|M|G)$/.exec(text)
  const unit = match?.[2] === undefined ? undefined : memoryUnits[match[2]]
  if (match?.[1] === undefined || unit === undefined) return undefined
  return Math.round(Number(match[1]) * unit)
}

/** Thousandths of a core of a CPU quantity (0.25, 2, "500m"), or undefined when it is not one. */
export function parseCpu(value: number | string): number | undefined {
  if (typeof value === 'number') {
    const millis = Math.round(value * 1000)
    return Number.isSafeInteger(millis) ? millis : undefined
  }
  const match = /^([0-9]{1,7})m$/.exec(value)
  return match?.[1] === undefined ? undefined : Number(match[1])
}

/** The shortest exact spelling with a binary unit: 536870912 is "512Mi". */
export function formatMemory(bytes: number): string {
  for (const unit of ['Gi', 'Mi', 'Ki'] as const) {
    const size = memoryUnits[unit] ?? 1
    if (bytes >= size && bytes % size === 0) return `${bytes / size}${unit}`
  }
  for (const unit of ['G', 'M', 'k'] as const) {
    const size = memoryUnits[unit] ?? 1
    if (bytes >= size && bytes % size === 0) return `${bytes / size}${unit}`
  }
  return `${Math.ceil(bytes / 1024)}Ki`
}
