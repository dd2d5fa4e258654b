import type { ExplanationFinding } from '@berth/contracts'
import type { desired } from '@berth/db'
import { plain, sentence } from './sentences.ts'

const toldEvents = 5
/** What has happened since then may go on. */
const lateMs = 10 * 60_000

/** Restarts and failures of the last day, the latest first; those of replicas that are told by themselves are left out. */
export function eventFindings({ events, replicas, readAt }: desired.ExplanationFacts): ExplanationFinding[] {
  const told = new Set<string>(
    replicas
      .filter(({ state, reason }) => state === 'failed' || (state === 'starting' && reason !== null))
      .map(({ id }) => id),
  )
  return events
    .filter(({ replicaId }) => !told.has(replicaId))
    .slice(0, toldEvents)
    .map((event) => {
      const { at, revision, replicaId, node } = event
      return {
        about: 'replica',
        severity: readAt.getTime() - at.getTime() < lateMs ? 'warning' : 'info',
        message: eventWords(event),
        revision,
        replica: replicaId,
        ...(node === null ? {} : { node }),
        at: at.toISOString(),
      }
    })
}

/** "At 10:07 an app of hello-00001 on n1 was restarted, 4 times since 10:00: OutOfMemory, ..." */
function eventWords(event: desired.ServiceEventRow): string {
  const { kind, revision, node, count, reason, message, at, firstAt } = event
  const where = node === null ? revision : `${revision} on ${node}`
  const what =
    kind === 'ReplicaRestarted' ? `an app of ${where} was restarted` : `a replica of ${where} failed`
  const often = count === 1 ? '' : `, ${count} times since ${firstAt.toISOString()}`
  return sentence(`At ${at.toISOString()} ${what}${often}: ${reason}, ${plain(message)}`)
}
