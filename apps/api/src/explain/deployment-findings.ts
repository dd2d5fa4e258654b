import type { ExplanationFinding } from '@berth/contracts'
import type { desired } from '@berth/db'
import { nextTry } from './next-try.ts'
import { plain, sentence } from './sentences.ts'

/** What the open deployment waits for, and what the last one failed on. */
export function deploymentFindings({
  open,
  lastFinished,
  replicas,
  readAt,
}: desired.ExplanationFacts): ExplanationFinding[] {
  const findings: ExplanationFinding[] = []
  if (open !== null) {
    const trouble =
      open.reason === null ? '' : ` and does not get on (${open.reason}: ${plain(open.message ?? '')})`
    const failed = replicas.filter(
      ({ deploymentId, state }) => deploymentId === open.id && state === 'failed',
    )
    findings.push({
      about: 'deployment',
      severity: open.reason === null && failed.length === 0 ? 'info' : 'warning',
      message: `Deployment ${open.id} is ${open.phase}${trouble}.${nextTry(failed, readAt)}`,
      ...about(open),
      at: open.startedAt.toISOString(),
    })
  }
  if (lastFinished !== null && lastFinished.phase === 'failed') {
    const { reason, message } = lastFinished
    findings.push({
      about: 'deployment',
      severity: 'error',
      message: sentence(
        `The last deployment that ended, ${lastFinished.id}, failed: ${reason ?? 'StartFailed'}, ${plain(message ?? 'no message')}`,
      ),
      ...about(lastFinished),
      at: lastFinished.startedAt.toISOString(),
    })
  }
  return findings
}

function about({ node, revisionName }: desired.ExplainedDeployment) {
  return {
    ...(node === null ? {} : { node }),
    ...(revisionName === null ? {} : { revision: revisionName }),
  }
}
