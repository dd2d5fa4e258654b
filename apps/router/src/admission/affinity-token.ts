import { createHmac } from 'node:crypto'

const tokenBytes = 16

/**
 * What stands for a revision or replica in a client's cookie: 22 characters that tell neither its id nor whether two
 * services share it, the same in every router. `key` is the service's uid.
 */
export function affinityToken(key: string, id: string): string {
  return createHmac('sha256', key).update(id).digest().subarray(0, tokenBytes).toString('base64url')
}
