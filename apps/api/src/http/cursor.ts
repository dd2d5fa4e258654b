import { defaultLimit, type PageQuery } from '@berth/contracts'
import { ApiError } from '../api-error.ts'

/*
 * A cursor is the key of the last item on the page, in base64url, so that a page needs no state. One row more
 * than the page is read to know whether there is a next one.
 */

export type PageRequest = { limit: number; after?: string }

/** The rows to ask the database for. Throws `ApiError` invalid-query for a cursor that we did not make. */
export function pageOf(query: PageQuery): PageRequest {
  const limit = (query.limit ?? defaultLimit) + 1
  if (query.cursor === undefined) return { limit }
  const after = Buffer.from(query.cursor, 'base64url').toString('utf8')
  if (encodeCursor(after) !== query.cursor || !/^[\x21-\x7e]{1,255}$/.test(after)) throw badCursor()
  return { limit, after }
}

/** The same for lists that count down a number. */
export function numberedPageOf(query: PageQuery): { limit: number; before?: number } {
  const { limit, after } = pageOf(query)
  if (after === undefined) return { limit }
  const before = Number(after)
  if (!Number.isSafeInteger(before) || before < 0 || before > 2_147_483_647) throw badCursor()
  return { limit, before }
}

/** The answer's body from the rows that `pageOf` asked for. */
export function listBody<Row, Item>(
  rows: readonly Row[],
  page: { limit: number },
  keyOf: (row: Row) => string | number,
  view: (row: Row) => Item,
): { items: Item[]; nextCursor: string | null } {
  const shown = rows.slice(0, page.limit - 1)
  const last = shown.at(-1)
  const more = rows.length === page.limit && last !== undefined
  return { items: shown.map(view), nextCursor: more ? encodeCursor(String(keyOf(last))) : null }
}

function encodeCursor(key: string): string {
  return Buffer.from(key, 'utf8').toString('base64url')
}

function badCursor(): ApiError {
  return new ApiError('invalid-query', 'The cursor is not one that a list of ours answered with.')
}
