/** Who asks: the token of the request. */
export type Caller = {
  tokenId: string
  scope: 'project' | 'platform'
  project: { uid: string; name: string }
  expiresAt: Date | null
}
