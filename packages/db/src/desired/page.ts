/** One page of a list: at most `limit` rows behind the key `after`. */
export type Page = { limit: number; after?: string }
