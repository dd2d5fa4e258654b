import type { Keyring } from '@berth/db'

/** Who asks: the token of the request. */
export type Caller = {
  tokenId: string
  /** Seals what this token alone may read again: its key is the token, which is stored nowhere. */
  keyring: Keyring
  scope: 'project' | 'platform'
  project: { uid: string; name: string }
  expiresAt: Date | null
}
