import { labelMap, type PoolPatch, type PoolSpec, type PoolView } from '@berth/contracts'
import { desired, type Transaction } from '@berth/db'
import { z } from 'zod'
import { ApiError, notFound } from '../api-error.ts'
import { requireMatch } from '../http/entity-tag.ts'
import { parseBody } from '../http/parse-with.ts'
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
  requireMatch(ifMatch, poolTag(pool))
  const { strategy, overcommitCpu } = patch
  const merged = { labels: mergePatch(pool.labels, patch.labels ?? {}) }
  const { labels } = parseBody(z.object({ labels: labelMap }), merged)
  return await desired.updatePool(tx, name, {
    labels,
    ...(strategy === undefined ? {} : { strategy }),
    ...(overcommitCpu === undefined ? {} : { overcommitCpu }),
  })
}

/** Pools have no generation: the moment of the last change stands in. */
export function poolTag(pool: desired.PoolRow): string {
  return `"${pool.name}:${pool.updatedAt.getTime()}"`
}

export function poolView(pool: desired.PoolRow): PoolView {
  return {
    name: pool.name,
    strategy: pool.strategy,
    overcommitCpu: pool.overcommitCpu,
    labels: pool.labels,
    createdAt: pool.createdAt.toISOString(),
    updatedAt: pool.updatedAt.toISOString(),
  }
}
