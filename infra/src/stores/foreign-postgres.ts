import { openDatabase, readServerVersion, StoreError, StoreUnavailableError } from '@berth/db'
import { Failure } from '../failure.ts'

const oldestVersion = 15

const refusals: Record<string, string> = {
  '28P01': 'refuses the password',
  '28000': 'refuses the user',
  '3D000': 'has no database of that name',
}

/** Looks at a Postgres that somebody else runs before Berth relies on it: it must answer and be new enough. */
export async function checkForeignPostgres(url: string, oldest = oldestVersion): Promise<void> {
  let version: number
  try {
    version = await askVersion(url)
  } catch (error) {
    throw new Failure(`DATABASE_URL ${problemOf(error)}; check it, or unset it for a private Postgres.`, {
      cause: error,
    })
  }
  if (version < oldest)
    throw new Failure(`The Postgres at DATABASE_URL is version ${version}; Berth needs ${oldest} or newer.`)
}

async function askVersion(url: string): Promise<number> {
  const db = openDatabase(url, { applicationName: 'berth-up', maxConnections: 1 })
  try {
    return await readServerVersion(db)
  } finally {
    await db.close()
  }
}

/** In our own words: those of the driver may carry the URL and with it the password. */
function problemOf(error: unknown): string {
  if (error instanceof StoreUnavailableError) return `does not answer (${error.code})`
  if (!(error instanceof StoreError) || !isSqlState(error.code)) return 'is not a URL of a Postgres database'
  return refusals[error.code] ?? `refuses the connection (${error.code})`
}

const isSqlState = (code: string) => /^[0-9A-Z]{5}$/.test(code)
