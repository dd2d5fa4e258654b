import type { desired } from '@berth/db'
import { restartBackoffMs } from '@berth/scheduler'
import { seconds } from './sentences.ts'

/** When a start is tried again after `failed`: 1 s after the first failure, twice as long after each further one. */
export function nextTry(failed: readonly desired.ExplainedReplica[], readAt: Date): string {
  const lastAt = Math.max(0, ...failed.map(({ failedAt }) => failedAt?.getTime() ?? 0))
  if (lastAt === 0) return ''
  const waitMs = restartBackoffMs(failed.length, 0)
  const leftMs = lastAt + waitMs - readAt.getTime()
  const starts = failed.length === 1 ? '1 start has' : `${failed.length} starts have`
  const next = leftMs > 0 ? `in ${seconds(leftMs)}` : 'now'
  return ` ${starts} failed; the back-off is ${seconds(waitMs)}, the next try is due ${next}.`
}
