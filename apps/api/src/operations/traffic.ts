import type { TrafficSpec } from '@berth/contracts'
import { desired, notifyServiceChanged, type Transaction } from '@berth/db'
import { isDeepStrictEqual } from 'node:util'
import { ApiError, invalidField } from '../api-error.ts'
import type { ApiContext } from '../context.ts'
import { checkTags, checkTrafficRevisions } from './check-spec.ts'
import { changed, lockService, type ServiceChange, type ServiceScope } from './services.ts'

/**
 * Says who gets which share from now on and ends a rollback's pin. Throws `ApiError` not-found, invalid-field,
 * precondition-failed or being-deleted.
 */
export async function setTraffic(
  context: ApiContext,
  tx: Transaction,
  scope: ServiceScope,
  name: string,
  traffic: TrafficSpec,
): Promise<ServiceChange> {
  const service = await lockService(tx, scope, name)
  checkTags(traffic, name, scope.project.name)
  await checkTrafficRevisions(tx, traffic, service.uid)
  const differs = service.pinnedRevision !== null || !isDeepStrictEqual(service.traffic, traffic)
  if (differs) {
    await desired.updateServiceRow(tx, service.uid, { traffic, pinnedRevision: null })
    await notifyServiceChanged(tx, service.uid)
  }
  return await changed(context, tx, scope, name, { created: false, changed: differs })
}

/**
 * Pins all traffic to an older revision until the next deployment: the given one, else the one that a rollout
 * under way takes the traffic from, else the newest ready revision before those that serve. Throws `ApiError` not-found, invalid-field, conflict, precondition-failed or
 * being-deleted.
 */
export async function rollBack(
  context: ApiContext,
  tx: Transaction,
  scope: ServiceScope,
  name: string,
  wanted: string | undefined,
): Promise<ServiceChange> {
  const service = await lockService(tx, scope, name)
  const revision = await rollbackTarget(tx, scope, service, wanted)
  if (service.pinnedRevision !== revision) {
    await desired.updateServiceRow(tx, service.uid, { pinnedRevision: revision })
    await notifyServiceChanged(tx, service.uid)
  }
  return await changed(context, tx, scope, name, { created: false, changed: true })
}

async function rollbackTarget(
  tx: Transaction,
  scope: ServiceScope,
  service: desired.ServiceRow,
  wanted: string | undefined,
): Promise<string> {
  if (wanted !== undefined) {
    const found = await desired.findServiceRevision(tx, service.uid, wanted)
    if (found === undefined)
      throw invalidField(
        'revision',
        `is not a revision of the service; the newest ${service.revisionHistoryLimit} are kept, and those in use`,
      )
    if (found.readyAt === null) throw invalidField('revision', 'was never ready')
    return found.name
  }
  const previousOfRollout = await desired.findPreviousOfRollout(tx, service.uid)
  if (previousOfRollout !== undefined) return previousOfRollout
  const picture = await desired.findService(tx, scope.project.uid, service.name)
  const serving = (picture?.status?.traffic ?? []).filter(({ percent }) => percent > 0)
  const names = serving.map(({ revision }) => revision)
  const oldest = await desired.oldestRevisionNumber(tx, service.uid, names)
  const previous =
    oldest === undefined ? undefined : await desired.newestReadyRevision(tx, service.uid, oldest)
  if (previous === undefined)
    throw new ApiError('conflict', 'There is no ready revision before the one that serves now.')
  return previous.name
}
