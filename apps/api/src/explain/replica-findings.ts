import type { ExplanationFinding } from '@berth/contracts'
import type { desired } from '@berth/db'
import { restartBackoffMs } from '@berth/scheduler'
import { plain, seconds, sentence } from './sentences.ts'

/** Failed replicas that are told one by one; the others say the same. */
const toldFailures = 5

/** What failed replicas ended with, newest first, and those that are started again. */
export function replicaFindings({ replicas }: desired.ExplanationFacts): ExplanationFinding[] {
  const failed = replicas
    .filter(({ state }) => state === 'failed')
    .toSorted((a, b) => (b.failedAt?.getTime() ?? 0) - (a.failedAt?.getTime() ?? 0))
  const restarting = replicas.filter(({ state, reason }) => state === 'starting' && reason !== null)
  const told = [...failed.slice(0, toldFailures), ...restarting].map((replica): ExplanationFinding => {
    const { id, node, reason, message, failedAt, state, restarts, ends } = replica
    const what = state === 'failed' ? 'failed' : `is being started again, restart ${restarts}`
    const wait =
      state === 'failed' ? '' : ` It waits ${seconds(restartBackoffMs(ends.length, 0))} at most before.`
    return {
      about: 'replica',
      severity: state === 'failed' ? 'error' : 'warning',
      message: `${sentence(`${id} ${what}: ${reason ?? 'StartFailed'}, ${plain(message ?? 'no message')}`)}${wait}`,
      replica: id,
      ...(node === '' ? {} : { node }),
      ...(failedAt === null ? {} : { at: failedAt.toISOString() }),
    }
  })
  const untold = failed.length - toldFailures
  if (untold <= 0) return told
  return [...told, { about: 'replica', severity: 'info', message: `${untold} more have failed before.` }]
}
