import type { ServiceSpec, ServiceView } from '@berth/contracts'
import { desired, notifyServiceChanged, type Transaction } from '@berth/db'
import { isDeepStrictEqual } from 'node:util'
import { ApiError, invalidField, notFound } from '../api-error.ts'
import type { Caller } from '../auth/caller.ts'
import type { ApiContext } from '../context.ts'
import { entityTag, requireMatch } from '../http/entity-tag.ts'
import { changedColumns } from './changed-columns.ts'
import { checkSpecReferences, isPinned, parseServiceSpec } from './check-spec.ts'
import { encodeEnvironment, fromTemplate, toTemplate } from './flat-spec.ts'
import { isObject, mergePatch } from './merge-patch.ts'
import { suffixDeploys } from './revision-suffix.ts'
import { openEnvironment, serviceView } from './service-view.ts'
import { claimVolumes } from './volumes.ts'

/** In which project, by whom, and what `If-Match` said. */
export type ServiceScope = {
  project: { uid: string; name: string }
  caller: Caller
  ifMatch: string | undefined
}

/** `changed` is false when nothing was written: nobody needs to look. */
export type ServiceChange = { service: ServiceView; created: boolean; changed: boolean }

/** Throws `ApiError` invalid-field, already-exists or being-deleted. */
export async function createService(
  context: ApiContext,
  tx: Transaction,
  scope: ServiceScope,
  body: unknown,
): Promise<ServiceChange> {
  const spec = parseServiceSpec(body, scope.project.name)
  const existing = await desired.findServiceForUpdate(tx, scope.project.uid, spec.name)
  if (existing !== undefined) throw taken(existing)
  return await insert(context, tx, scope, spec)
}

/** Create-or-replace. Throws `ApiError` invalid-field, precondition-failed or being-deleted. */
export async function replaceService(
  context: ApiContext,
  tx: Transaction,
  scope: ServiceScope,
  name: string,
  body: unknown,
): Promise<ServiceChange> {
  const existing = await desired.findServiceForUpdate(tx, scope.project.uid, name)
  requireMatch(scope.ifMatch, existing && entityTag(existing))
  const spec = parseServiceSpec(named(body, name), scope.project.name)
  if (existing === undefined) return await insert(context, tx, scope, spec)
  return await update(context, tx, scope, existing, spec, true)
}

/** JSON merge patch on the spec. Throws `ApiError` not-found, invalid-field, precondition-failed or being-deleted. */
export async function patchService(
  context: ApiContext,
  tx: Transaction,
  scope: ServiceScope,
  name: string,
  patch: unknown,
): Promise<ServiceChange> {
  const existing = await desired.findServiceForUpdate(tx, scope.project.uid, name)
  if (existing === undefined) throw notFound('service', name)
  requireMatch(scope.ifMatch, entityTag(existing))
  if (!isObject(patch)) throw invalidField('', 'must be a JSON object')
  const merged = mergePatch(specOf(context, existing), named(patch, name))
  const spec = parseServiceSpec(merged, scope.project.name)
  return await update(context, tx, scope, existing, spec, Object.hasOwn(patch, 'image'))
}

/** The worker takes it down; until then GET shows it. Throws `ApiError` not-found or precondition-failed. */
export async function deleteService(
  context: ApiContext,
  tx: Transaction,
  scope: ServiceScope,
  name: string,
): Promise<ServiceChange> {
  const existing = await desired.findServiceForUpdate(tx, scope.project.uid, name)
  if (existing === undefined) throw notFound('service', name)
  requireMatch(scope.ifMatch, entityTag(existing))
  if (existing.deletedAt === null) {
    await desired.markServiceDeleted(tx, existing.uid)
    await notifyServiceChanged(tx, existing.uid)
  }
  return await changed(context, tx, scope, name, { created: false, changed: true })
}

/** The row of a service that is not being deleted, locked. Throws `ApiError` not-found, precondition-failed or being-deleted. */
export async function lockService(
  tx: Transaction,
  scope: ServiceScope,
  name: string,
): Promise<desired.ServiceRow> {
  const existing = await desired.findServiceForUpdate(tx, scope.project.uid, name)
  if (existing === undefined) throw notFound('service', name)
  requireMatch(scope.ifMatch, entityTag(existing))
  if (existing.deletedAt !== null) throw taken(existing)
  return existing
}

/** The answer after a change, read in the same transaction. */
export async function changed(
  context: ApiContext,
  tx: Transaction,
  scope: ServiceScope,
  name: string,
  how: { created: boolean; changed: boolean },
): Promise<ServiceChange> {
  const picture = await desired.findService(tx, scope.project.uid, name)
  if (picture === undefined) throw notFound('service', name)
  return { service: serviceView(context, scope.project.name, picture), ...how }
}

async function insert(
  context: ApiContext,
  tx: Transaction,
  scope: ServiceScope,
  spec: ServiceSpec,
): Promise<ServiceChange> {
  await checkSpecReferences(tx, spec, undefined)
  const uid = desired.newServiceUid()
  const row = await desired.insertServiceRow(tx, {
    uid,
    projectUid: scope.project.uid,
    name: spec.name,
    createdBy: scope.caller.tokenId,
    ...columnsOf(spec),
    env: sealEnvironment(context, uid, spec),
    pinnedRevision: null,
  })
  await claimVolumes(tx, { projectUid: scope.project.uid, serviceUid: uid }, spec)
  await desired.requestDeployment(tx, row, 'create', scope.caller.tokenId, spec.revisionSuffix)
  await notifyServiceChanged(tx, uid)
  return await changed(context, tx, scope, spec.name, { created: true, changed: true })
}

/**
 * Writes what differs. A different template or environment deploys; so does naming the image (`namesImage`) unless
 * it is a digest, since its tag may have moved, and so does a suffix that names another revision. A new deployment ends
 * the pin of a rollback.
 */
async function update(
  context: ApiContext,
  tx: Transaction,
  scope: ServiceScope,
  existing: desired.ServiceRow,
  spec: ServiceSpec,
  namesImage: boolean,
): Promise<ServiceChange> {
  if (existing.deletedAt !== null) throw taken(existing)
  await checkSpecReferences(tx, spec, existing.uid)
  const before = specOf(context, existing)
  const columns = columnsOf(spec)
  const sameEnvironment = isDeepStrictEqual(before.env, spec.env)
  const suffixed = await suffixDeploys(context, tx, existing, spec)
  const deploys =
    suffixed ||
    !isDeepStrictEqual(existing.template, columns.template) ||
    !sameEnvironment ||
    (namesImage && (!isPinned(spec.image) || existing.pinnedRevision !== null))
  const { template: _, ...serviceLevel } = columns
  const differs = changedColumns(existing, serviceLevel) !== undefined
  if (!deploys && !differs)
    return await changed(context, tx, scope, existing.name, { created: false, changed: false })
  const row = await desired.updateServiceRow(tx, existing.uid, {
    ...columns,
    ...(sameEnvironment ? {} : { env: sealEnvironment(context, existing.uid, spec) }),
    ...(deploys ? { pinnedRevision: null } : {}),
  })
  await claimVolumes(tx, { projectUid: scope.project.uid, serviceUid: existing.uid }, spec)
  if (deploys) await desired.requestDeployment(tx, row, 'update', scope.caller.tokenId, spec.revisionSuffix)
  await notifyServiceChanged(tx, existing.uid)
  return await changed(context, tx, scope, existing.name, { created: false, changed: true })
}

function columnsOf(spec: ServiceSpec) {
  return { template: toTemplate(spec), ...serviceLevelOf(spec) }
}

/** The fields that make no revision, by the same names in a spec and in a row. */
function serviceLevelOf(source: ServiceSpec | desired.ServiceRow) {
  const { minScale, maxScale, idle, traffic, rollout, labels, annotations } = source
  const { revisionHistoryLimit, sessionAffinity } = source
  return {
    minScale,
    maxScale,
    idle,
    traffic,
    rollout,
    revisionHistoryLimit,
    sessionAffinity,
    labels,
    annotations,
  }
}

/** The spec as the user would have sent it, with all defaults. */
function specOf(context: ApiContext, row: desired.ServiceRow) {
  const env = openEnvironment(context, row)
  return { name: row.name, ...fromTemplate(row.template), env, ...serviceLevelOf(row) }
}

function sealEnvironment(context: ApiContext, uid: string, spec: ServiceSpec): Buffer {
  return context.keyring.seal(encodeEnvironment(spec.env), desired.serviceEnvPurpose(uid))
}

/** The body with the name of the path, which it may repeat but not contradict. */
function named(body: unknown, name: string): unknown {
  if (!isObject(body)) return body
  if (!Object.hasOwn(body, 'name')) return { ...body, name }
  if (body['name'] !== name)
    throw invalidField('name', `must be "${name}" as in the path: names do not change`)
  return body
}

function taken(existing: desired.ServiceRow): ApiError {
  return existing.deletedAt === null
    ? new ApiError('already-exists', `A service "${existing.name}" exists already.`)
    : new ApiError(
        'being-deleted',
        `The service "${existing.name}" is being deleted; try again in a moment.`,
        {
          headers: { 'retry-after': '2' },
        },
      )
}
