import { randomFillSync } from 'node:crypto'

/** A call of the generator costs as much for a few bytes as for many. */
const pool = Buffer.allocUnsafe(4096)
let used = pool.length

/** Random bytes, at most 4,096, as twice as many hexadecimal digits. */
export function randomHex(bytes: number): string {
  if (used + bytes > pool.length) {
    randomFillSync(pool)
    used = 0
  }
  used += bytes
  return pool.toString('hex', used - bytes, used)
}
