import { ApiError } from '../api-error.ts'

/** `uid:generation`: a name created again gets another uid, and status changes do not touch it. */
export function entityTag(object: { uid: string; generation: number }): string {
  return `"${object.uid}:${object.generation}"`
}

/** Throws `ApiError` precondition-failed when `If-Match` was sent and does not name the tag. */
export function requireMatch(ifMatch: string | undefined, tag: string | undefined): void {
  if (ifMatch === undefined) return
  if (tag !== undefined) {
    const wanted = ifMatch.split(',').map((part) => part.trim())
    if (wanted.includes('*') || wanted.includes(tag)) return
  }
  throw new ApiError(
    'precondition-failed',
    tag === undefined ? 'There is no such resource yet.' : `The resource is at ${tag} by now; read it again.`,
  )
}
