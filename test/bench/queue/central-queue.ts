import type { Schedule } from '../load/schedule.ts'

/**
 * Milliseconds that each request waits where one queue feeds `servers` that work for `serviceMs` each and lose no time
 * between two requests: no router can do better than this.
 */
export function waitsOfCentralQueue(schedule: Schedule, servers: number, serviceMs: number): Float64Array {
  const freeAt = new Float64Array(servers)
  return schedule.map((at) => {
    const first = freeAt.indexOf(Math.min(...freeAt))
    const start = Math.max(at, freeAt[first] ?? 0)
    freeAt[first] = start + serviceMs
    return start - at
  })
}
