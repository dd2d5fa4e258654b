import { desired, type Transaction } from '@berth/db'
import { createHash } from 'node:crypto'
import { ApiError } from '../api-error.ts'
import type { Caller } from '../auth/caller.ts'
import type { Answer } from './route.ts'

const keyPattern = /^[\x21-\x7e]{1,255}$/

/** The key of a header. Throws `ApiError` malformed-request. */
export function checkIdempotencyKey(key: string): string {
  if (keyPattern.test(key)) return key
  throw new ApiError('malformed-request', 'Idempotency-Key must be 1 to 255 printable ASCII characters.')
}

/**
 * Does `work` once for a key, in the same transaction as what it writes: the same request of the same token gets
 * the stored answer for 24 h, since what that token may do never changes. Any other request, or another token, is
 * refused. Answers carry environments and new tokens, so they are sealed under the caller's own token. What `work`
 * refuses is not stored. Throws `ApiError` idempotency-key-reused or idempotency-key-in-progress.
 */
export async function once(
  tx: Transaction,
  caller: Caller,
  scope: desired.IdempotencyScope,
  request: unknown,
  work: () => Promise<Answer>,
): Promise<Answer> {
  if (!(await desired.claimIdempotencyKey(tx, scope)))
    throw new ApiError('idempotency-key-in-progress', 'The first request with this key still runs.', {
      headers: { 'retry-after': '1' },
    })
  const requestHash = hashOf([caller.tokenId, request])
  const stored = await desired.findStoredAnswer(tx, scope)
  if (stored !== undefined) {
    if (stored.bodyHash !== requestHash)
      throw new ApiError('idempotency-key-reused', 'The key came with another request or token before.')
    return replayed(caller, scope, stored)
  }
  const answer = await work()
  const sealed = caller.keyring.seal(JSON.stringify(answer.body ?? null), purposeOf(scope))
  await desired.storeAnswer(tx, scope, {
    bodyHash: requestHash,
    status: answer.status,
    headers: answer.headers ?? {},
    body: sealed.toString('base64'),
  })
  return answer
}

function replayed(caller: Caller, scope: desired.IdempotencyScope, stored: desired.StoredAnswer): Answer {
  const sealed = Buffer.from(stored.body, 'base64')
  const body = JSON.parse(caller.keyring.openText(sealed, purposeOf(scope))) as unknown
  return { status: stored.status, headers: { ...stored.headers, 'idempotency-replayed': 'true' }, body }
}

function purposeOf({ projectUid, route, key }: desired.IdempotencyScope): string {
  return `idempotency:${projectUid}:${route}:${key}`
}

function hashOf(value: unknown): string {
  return createHash('sha256').update(JSON.stringify(value)).digest('hex')
}
