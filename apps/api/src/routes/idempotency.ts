import { desired, type Transaction } from '@berth/db'
import type { Keyring } from '@berth/db'
import { createHash } from 'node:crypto'
import { ApiError } from '../api-error.ts'
import type { Answer } from './route.ts'

const keyPattern = /^[\x21-\x7e]{1,255}$/

/** The key of a header. Throws `ApiError` malformed-request. */
export function checkIdempotencyKey(key: string): string {
  if (keyPattern.test(key)) return key
  throw new ApiError('malformed-request', 'Idempotency-Key must be 1 to 255 printable ASCII characters.')
}

/**
 * Does `work` once for a key, in the same transaction as what it writes: the same request again gets the stored
 * answer for 24 h. What `work` refuses is not stored. Throws `ApiError` idempotency-key-reused or
 * idempotency-key-in-progress.
 */
export async function once(
  tx: Transaction,
  keyring: Keyring,
  scope: desired.IdempotencyScope,
  request: unknown,
  work: () => Promise<Answer>,
): Promise<Answer> {
  if (!(await desired.claimIdempotencyKey(tx, scope)))
    throw new ApiError('idempotency-key-in-progress', 'The first request with this key still runs.', {
      headers: { 'retry-after': '1' },
    })
  const purpose = `idempotency:${scope.projectUid}:${scope.route}:${scope.key}`
  const bodyHash = createHash('sha256').update(JSON.stringify(request)).digest('hex')
  const stored = await desired.findStoredAnswer(tx, scope)
  if (stored !== undefined) {
    if (stored.bodyHash !== bodyHash)
      throw new ApiError('idempotency-key-reused', 'The key came with another request before.')
    const body = JSON.parse(keyring.openText(Buffer.from(stored.body, 'base64'), purpose)) as unknown
    return { status: stored.status, headers: { ...stored.headers, 'idempotency-replayed': 'true' }, body }
  }
  const answer = await work()
  const sealed = keyring.seal(JSON.stringify(answer.body ?? null), purpose)
  await desired.storeAnswer(tx, scope, {
    bodyHash,
    status: answer.status,
    headers: answer.headers ?? {},
    body: sealed.toString('base64'),
  })
  return answer
}
