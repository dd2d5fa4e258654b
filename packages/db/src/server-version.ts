import { sql } from 'drizzle-orm'
import type { Executor } from './connection.ts'

/** The major version of the server: 15 for 15.18. */
export async function readServerVersion(db: Executor): Promise<number> {
  const { rows } = await db.execute<{ version: string }>(
    sql`select current_setting('server_version_num') as version`,
  )
  return Math.floor(Number(rows[0]?.version) / 10_000)
}
