/** Something the person at the keyboard can act on: `message` is one sentence that says what to do. */
export class Failure extends Error {
  override readonly name = 'Failure'
}

/** The text of anything that was thrown, without a stack. */
export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : JSON.stringify(error)
}

/** The `code` of a system error ("ENOENT"), or undefined. */
export function codeOf(error: unknown): string | undefined {
  if (error instanceof Error && 'code' in error && typeof error.code === 'string') return error.code
  return undefined
}
