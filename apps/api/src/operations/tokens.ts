import type { TokenSpec, TokenView } from '@berth/contracts'
import { desired, type Transaction } from '@berth/db'
import { ApiError, invalidField, notFound } from '../api-error.ts'
import type { Caller } from '../auth/caller.ts'
import { newTokenSecret, tokenHash } from '../auth/token-secret.ts'

type Project = { uid: string; name: string }

/**
 * Nobody makes a token that may do more, or live longer, than the own one. Throws `ApiError` forbidden or
 * invalid-field.
 */
export async function createToken(
  tx: Transaction,
  caller: Caller,
  project: Project,
  spec: TokenSpec,
): Promise<{ view: TokenView; secret: string }> {
  if (spec.scope === 'platform' && caller.scope !== 'platform')
    throw new ApiError('forbidden', 'Only a platform token may make a platform token.')
  const expiresAt = spec.expiresAt === null ? null : new Date(spec.expiresAt)
  if (expiresAt !== null && expiresAt.getTime() <= Date.now())
    throw invalidField('expiresAt', 'must be in the future')
  if (caller.expiresAt !== null && (expiresAt === null || expiresAt > caller.expiresAt))
    throw invalidField('expiresAt', 'must not be later than the expiry of the token that asks')
  const secret = newTokenSecret()
  const row = await desired.insertToken(tx, {
    name: spec.name,
    scope: spec.scope,
    projectUid: project.uid,
    hash: tokenHash(secret),
    expiresAt,
  })
  return { view: tokenView({ ...row, projectName: project.name }), secret }
}

/** In force with the commit. A project token does not see platform tokens. Throws `ApiError` not-found. */
export async function revokeToken(
  tx: Transaction,
  caller: Caller,
  project: Project,
  id: string,
): Promise<void> {
  const token = await desired.findToken(tx, project.uid, id)
  if (token === undefined || (token.scope === 'platform' && caller.scope !== 'platform'))
    throw notFound('token', id)
  await desired.revokeToken(tx, id)
}

export function tokenView(row: desired.TokenRow): TokenView {
  return {
    id: row.id,
    name: row.name,
    scope: row.scope,
    project: row.projectName,
    createdAt: row.createdAt.toISOString(),
    expiresAt: row.expiresAt?.toISOString() ?? null,
    lastUsedAt: row.lastUsedAt?.toISOString() ?? null,
  }
}
