import { labelMap, type PoolPatch, type PoolSpec, type PoolView } from '@berth/contracts'
import { desired, type Transaction } from '@berth/db'
import { z } from 'zod'
import { ApiError, notFound } from '../api-error.ts'
import { entityTag, requireMatch } from '../http/entity-tag.ts'
import { parseBody } from '../http/parse-with.ts'
import { changedColumns } from './changed-columns.ts'
import { mergePatch } from './merge-patch.ts'

/** Throws `ApiError` already-exists. */
export async function createPool(tx: Transaction, spec: PoolSpec): Promise<desired.PoolRow> {
  if ((await desired.findPool(tx, spec.name)) !== undefined)
    throw new ApiError('already-exists', `A pool "${spec.name}" exists already.`)
  return await desired.insertPool(tx, spec)
}

/** JSON merge patch. Throws `ApiError` not-found, invalid-field or precondition-failed. */
export async function changePool(
  tx: Transaction,
  name: string,
  patch: PoolPatch,
  ifMatch: string | undefined,
): Promise<desired.PoolRow> {
  const pool = await desired.findPoolForUpdate(tx, name)
  if (pool === undefined) throw notFound('pool', name)
  requireMatch(ifMatch, entityTag(pool))
  const { strategy = pool.strategy, overcommitCpu = pool.overcommitCpu } = patch
  const merged = { labels: mergePatch(pool.labels, patch.labels ?? {}) }
  const { labels } = parseBody(z.object({ labels: labelMap }), merged)
  const changes = changedColumns(pool, { strategy, overcommitCpu, labels })
  return changes === undefined ? pool : await desired.updatePool(tx, name, changes)
}

export function poolView(pool: desired.PoolRow): PoolView {
  return {
    name: pool.name,
    uid: pool.uid,
    generation: pool.generation,
    strategy: pool.strategy,
    overcommitCpu: pool.overcommitCpu,
    labels: pool.labels,
    createdAt: pool.createdAt.toISOString(),
    updatedAt: pool.updatedAt.toISOString(),
  }
}
