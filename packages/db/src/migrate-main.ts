import { setTimeout as delay } from 'node:timers/promises'
import { migrateDatabase } from './migrate.ts'
import { StoreUnavailableError } from './store-error.ts'

/** Postgres may still be starting, or recovering from a crash. */
const waitMs = 30_000
const retryMs = 250

const url = process.env['DATABASE_URL']
if (url === undefined || url === '') {
  process.stderr.write('DATABASE_URL is not set.\n')
  process.exit(2)
}

const deadline = performance.now() + waitMs
for (;;) {
  try {
    await migrateDatabase(url)
    break
  } catch (error) {
    if (!(error instanceof StoreUnavailableError) || performance.now() > deadline) {
      process.stderr.write(`The database was not migrated: ${String(error)}\n`)
      process.exit(1)
    }
    await delay(retryMs)
  }
}
