import { z } from 'zod'

const maxLimit = 500
export const defaultLimit = 100

/** A page of a list; `nextCursor` is null on the last one. */
export function listOf<Item extends z.ZodType>(item: Item) {
  return z.object({ items: z.array(item), nextCursor: z.string().nullable() })
}

const limit = z
  .string()
  .regex(/^[0-9]{1,4}$/, `must be 1 to ${maxLimit}`)
  .transform(Number)
  .pipe(z.int().min(1).max(maxLimit))

export const pageQuery = z.strictObject({
  limit: limit.optional().meta({ type: 'integer' }),
  cursor: z.string().min(1).max(512).optional(),
})
export type PageQuery = z.infer<typeof pageQuery>
