const kibi = 1024
const mebi = 1024 ** 2
const gibi = 1024 ** 3

/**
 * Bytes as people write them: whole Gi where exact, else Mi, else Ki. Rounds down, so that free memory
 * is never shown as enough when it is a few bytes short; below 1Ki and below zero it is "0".
 */
export function formatMemory(bytes: number): string {
  if (bytes >= gibi && bytes % gibi === 0) return `${bytes / gibi}Gi`
  if (bytes >= mebi) return `${Math.floor(bytes / mebi)}Mi`
  if (bytes >= kibi) return `${Math.floor(bytes / kibi)}Ki`
  return '0'
}

/** Thousandths of a core as people write them: 2000 is "2", 500 is "500m". Never below "0". */
export function formatCpu(millis: number): string {
  const whole = Math.max(0, Math.floor(millis))
  return whole % 1000 === 0 ? `${whole / 1000}` : `${whole}m`
}
