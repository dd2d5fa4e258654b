const memoryUnits = {
  Gi: 1024 ** 3,
  Mi: 1024 ** 2,
  Ki: 1024,
  G: 1000 ** 3,
  M: 1000 ** 2,
  k: 1000,
} as const
type MemoryUnit = keyof typeof memoryUnits

export const memoryPattern = /^([0-9]{1,9}(?:\.[0-9]{1,6})?)(Ki|Mi|Gi|k|M|G)$/
const maxDecimals = 6
/** More than any machine has. Below it every whole number of bytes has a spelling: at worst "123456789.123456M". */
const beyondMemoryBytes = 1e15

export const minMemoryBytes = 16 * 1024 ** 2
export const maxMemoryBytes = 512 * 1024 ** 3
export const minCpuMillis = 50
export const maxCpuMillis = 64_000

/** Bytes of a memory quantity such as "512Mi" or "1.5G", or undefined when it is not one. No bare numbers. */
export function parseMemory(text: string): number | undefined {
  const match = memoryPattern.exec(text)
  if (match === null) return undefined
  const bytes = Math.round(Number(match[1]) * memoryUnits[match[2] as MemoryUnit])
  return bytes < beyondMemoryBytes ? bytes : undefined
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

/**
 * The spelling with the fewest decimals that `parseMemory` reads back to the same bytes, with the biggest unit, a
 * binary one first: 536870912 is "512Mi", 1181116006 is "1.1Gi". A petabyte and more is rounded up.
 */
export function formatMemory(bytes: number): string {
  if (bytes === 0) return '0Ki'
  for (let decimals = 0; decimals <= maxDecimals; decimals += 1)
    for (const [unit, size] of Object.entries(memoryUnits)) {
      const text = `${(bytes / size).toFixed(decimals)}${unit}`
      if (parseMemory(text) === bytes) return text
    }
  return `${Math.ceil(bytes / memoryUnits.Ki)}Ki`
}
