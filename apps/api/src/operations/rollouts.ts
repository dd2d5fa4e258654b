import { desired, notifyServiceChanged, type Transaction } from '@berth/db'
import { ApiError, notFound } from '../api-error.ts'

/*
 * What a person says to a deployment whose traffic moves in steps. The wish is written down; the worker acts on it
 * with its next pass. Each throws `ApiError` not-found, or conflict with the reason why it makes no sense now.
 */

/** The next step now, or straight to `percent` of the traffic of `latest`. */
export async function promoteDeployment(
  tx: Transaction,
  projectUid: string,
  id: string,
  percent: number | undefined,
): Promise<desired.DeploymentRow> {
  const { deployment } = await openRollout(tx, projectUid, id)
  const { rollout } = deployment
  if (rollout === null)
    throw conflict(`Its traffic has not begun to move: the deployment is ${deployment.phase}.`)
  refuseWhenWhole(rollout.percent)
  if (percent === undefined) return await wish(tx, deployment, { promoteFrom: rollout.percent })
  if (percent <= rollout.percent)
    throw conflict(`It has ${rollout.percent} % of the traffic already, and a rollout does not step back.`)
  return await wish(tx, deployment, { promoteTo: Math.max(percent, deployment.promoteTo ?? 0) })
}

/** No further step by itself. Again and again is the same as once. */
export async function pauseDeployment(
  tx: Transaction,
  projectUid: string,
  id: string,
): Promise<desired.DeploymentRow> {
  const { deployment } = await openRollout(tx, projectUid, id)
  refuseWhenWhole(deployment.rollout?.percent ?? 0)
  return await wish(tx, deployment, { pausedAt: deployment.pausedAt ?? new Date() })
}

export async function resumeDeployment(
  tx: Transaction,
  projectUid: string,
  id: string,
): Promise<desired.DeploymentRow> {
  const { deployment } = await openRollout(tx, projectUid, id)
  if (deployment.pausedAt === null) throw conflict('The deployment is not paused.')
  return await wish(tx, deployment, { pausedAt: null })
}

/** What served before gets all traffic back, and the deployment ends. */
export async function abortDeployment(
  tx: Transaction,
  projectUid: string,
  id: string,
): Promise<desired.DeploymentRow> {
  const { deployment } = await openDeployment(tx, projectUid, id)
  refuseWhenWhole(deployment.rollout?.percent ?? 0)
  return await wish(tx, deployment, { abortRequestedAt: deployment.abortRequestedAt ?? new Date() })
}

async function openDeployment(tx: Transaction, projectUid: string, id: string) {
  const found = await desired.findDeploymentForUpdate(tx, projectUid, id)
  if (found === undefined) throw notFound('deployment', id)
  const { finishedAt, phase } = found.deployment
  if (finishedAt !== null) throw conflict(`The deployment has ended already: it is ${phase}.`)
  return found
}

async function openRollout(tx: Transaction, projectUid: string, id: string) {
  const found = await openDeployment(tx, projectUid, id)
  if (found.service.rollout.strategy === 'immediate')
    throw conflict('The service rolls out at once (rollout.strategy is "immediate"): there are no steps.')
  return found
}

function refuseWhenWhole(percent: number): void {
  if (percent < 100) return
  throw conflict('The new revision has all of the traffic already; POST .../rollback takes it back.')
}

async function wish(
  tx: Transaction,
  { id, serviceUid }: desired.DeploymentRow,
  wanted: desired.DeploymentWish,
): Promise<desired.DeploymentRow> {
  const row = await desired.writeWish(tx, id, wanted)
  await notifyServiceChanged(tx, serviceUid)
  return row
}

function conflict(detail: string): ApiError {
  return new ApiError('conflict', detail)
}
