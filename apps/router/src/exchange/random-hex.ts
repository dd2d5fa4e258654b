import { randomBytes } from 'node:crypto'

/** A call of the generator costs as much for a few bytes as for many, and so does writing them down. */
const poolBytes = 4096
let pool = ''
let used = 0

/** Random bytes, at most 4,096, as twice as many hexadecimal digits. */
export function randomHex(bytes: number): string {
  const digits = bytes * 2
  if (used + digits > pool.length) {
    pool = randomBytes(poolBytes).toString('hex')
    used = 0
  }
  used += digits
  return pool.slice(used - digits, used)
}
