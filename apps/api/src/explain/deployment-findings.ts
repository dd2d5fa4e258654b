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
      message: `Deployment ${open.id} is ${open.pausedAt === null ? open.phase : `paused while ${open.phase}`}${trouble}.${nextTry(failed, readAt)}`,
      ...about(open),
      at: open.startedAt.toISOString(),
    })
  }
  if (lastFinished !== null) findings.push(...endOf(lastFinished))
  return findings
}

/** Why it failed, or why its traffic went back although it had succeeded; nothing of one that ended well. */
function endOf(deployment: desired.ExplainedDeployment): ExplanationFinding[] {
  const { id, phase, reason, message, rolledBack, finishedAt, startedAt } = deployment
  const told = { about: 'deployment', severity: 'error', ...about(deployment) } as const
  if (rolledBack !== null)
    return [
      {
        ...told,
        message: sentence(
          `The traffic of deployment ${id} went back: ${rolledBack.reason}, ${plain(rolledBack.message)}`,
        ),
        at: (finishedAt ?? startedAt).toISOString(),
      },
    ]
  if (phase !== 'failed') return []
  const why = `${reason ?? 'StartFailed'}, ${plain(message ?? 'no message')}`
  return [
    {
      ...told,
      message: sentence(`The last deployment that ended, ${id}, failed: ${why}`),
      at: (finishedAt ?? startedAt).toISOString(),
    },
  ]
}

function about({ node, revisionName }: desired.ExplainedDeployment) {
  return {
    ...(node === null ? {} : { node }),
    ...(revisionName === null ? {} : { revision: revisionName }),
  }
}
