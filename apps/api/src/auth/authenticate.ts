import { desired, StoreUnavailableError, type Database } from '@berth/db'
import { ApiError } from '../api-error.ts'
import type { Caller } from './caller.ts'
import { keyringOfToken, tokenHash } from './token-secret.ts'

/** One header with one token; two headers arrive joined by a comma and match no more. */
const bearer = /^Bearer ([A-Za-z0-9._~+/=-]{1,512})$/i

/**
 * The caller behind an Authorization header. The token is looked up on every request, so that a revoked one stops
 * with the commit. Throws `ApiError` unauthorized.
 */
export async function authenticate(db: Database, authorization: string | undefined): Promise<Caller> {
  const secret = bearer.exec(authorization ?? '')?.[1]
  if (secret === undefined) throw unauthorized()
  const token = await desired.findValidToken(db, tokenHash(secret))
  if (token === undefined) throw unauthorized()
  return {
    tokenId: token.id,
    keyring: keyringOfToken(secret),
    scope: token.scope,
    project: { uid: token.projectUid, name: token.projectName },
    expiresAt: token.expiresAt,
  }
}

/** Whether the token may still be used, for answers that stay open. A database that does not answer revokes nobody. */
export async function isStillValid(db: Database, { tokenId }: Caller): Promise<boolean> {
  try {
    return await desired.isValidToken(db, tokenId)
  } catch (error) {
    if (error instanceof StoreUnavailableError) return true
    throw error
  }
}

function unauthorized(): ApiError {
  return new ApiError('unauthorized', 'Send one valid token as "Authorization: Bearer <token>".', {
    headers: { 'www-authenticate': 'Bearer realm="berth"' },
  })
}
