import { Keyring } from '@berth/db'
import { createHash, hkdfSync, randomBytes } from 'node:crypto'

const secretBytes = 32
const keyBytes = 32

/** A new token: 256 random bits. */
export function newTokenSecret(): string {
  return `berth_${randomBytes(secretBytes).toString('base64url')}`
}

/** What is stored and looked up: SHA-256 in hex. A token is random, so it needs no salt and no slow hash. */
export function tokenHash(secret: string): string {
  return createHash('sha256').update(secret, 'utf8').digest('hex')
}

/** Opens what it has sealed for whoever has the token; neither the hash of the token nor the master key helps. */
export function keyringOfToken(secret: string): Keyring {
  return new Keyring(Buffer.from(hkdfSync('sha256', secret, '', 'berth sealed answers', keyBytes)))
}
