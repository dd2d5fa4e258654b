import { isFinalPhase, type DeploymentEventView, type DeploymentView } from '@berth/contracts'
import { desired, notifyServiceChanged, type Database, type Transaction } from '@berth/db'
import { setTimeout as delay } from 'node:timers/promises'
import { ApiError, notFound } from '../api-error.ts'
import type { ServerEvent } from '../http/event-stream.ts'

export function deploymentView(row: desired.DeploymentRow): DeploymentView {
  return {
    id: row.id,
    service: row.serviceName,
    revision: row.revisionName,
    phase: row.phase,
    reason: row.reason,
    message: row.message,
    trigger: row.trigger,
    createdBy: row.createdBy,
    startedAt: row.startedAt.toISOString(),
    finishedAt: row.finishedAt?.toISOString() ?? null,
    rollout: row.rollout,
    rolledBack: row.rolledBack,
    paused: row.pausedAt !== null,
  }
}

/** Asks the worker to stop it. Throws `ApiError` not-found, or conflict when it has ended. */
export async function cancelDeployment(
  tx: Transaction,
  projectUid: string,
  id: string,
): Promise<desired.DeploymentRow> {
  const existing = await desired.findDeployment(tx, projectUid, id)
  if (existing === undefined) throw notFound('deployment', id)
  const row = await desired.requestCancel(tx, id)
  if (row === undefined)
    throw new ApiError('conflict', `The deployment has ended already: it is ${existing.phase}.`)
  await notifyServiceChanged(tx, row.serviceUid)
  return row
}

const pollMs = 150
const eventsPerRead = 200

/**
 * The events behind `after` as they are written; ends with an event `end` that carries the deployment once it has
 * reached a final phase, or without it when the deployment is gone.
 */
export async function* followDeployment(
  db: Database,
  projectUid: string,
  id: string,
  after: number,
  signal: AbortSignal,
): AsyncGenerator<ServerEvent> {
  let last = after
  while (!signal.aborted) {
    // Read before its events: what a finished deployment wrote is then all there.
    const deployment = await desired.findDeployment(db, projectUid, id)
    if (deployment === undefined) return
    const events = await desired.listDeploymentEvents(db, id, last, eventsPerRead)
    for (const event of events) {
      last = event.id
      yield { id: String(event.id), event: 'progress', data: JSON.stringify(eventView(event)) }
    }
    if (events.length === eventsPerRead) continue
    if (isFinalPhase(deployment.phase))
      return yield { event: 'end', data: JSON.stringify(deploymentView(deployment)) }
    await delay(pollMs, undefined, { signal }).catch(() => {})
  }
}

function eventView(event: desired.DeploymentEventRow): DeploymentEventView {
  return { at: event.at.toISOString(), phase: event.phase, node: event.node, message: event.message }
}
