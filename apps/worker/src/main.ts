import { pino } from 'pino'
import { ConfigError, readConfig } from './config.ts'
import { startWorker } from './worker.ts'

/** Closing takes a few seconds at most; whatever hangs longer is left to the next worker. */
const closeWithinMs = 9_000

async function main(): Promise<void> {
  const config = readConfig(process.env)
  const log = pino({ name: 'worker', level: config.logLevel })
  const worker = await startWorker(config, log)
  log.info({ adminPort: worker.adminPort }, 'worker started')

  let closing = false
  const stop = (signal: NodeJS.Signals) => {
    if (closing) return
    closing = true
    log.info({ signal }, 'worker stops')
    setTimeout(() => {
      log.error('worker did not stop in time')
      process.exit(1)
    }, closeWithinMs).unref()
    worker.close().then(
      () => process.exit(0),
      (error: unknown) => {
        log.error({ err: error }, 'worker did not stop cleanly')
        process.exit(1)
      },
    )
  }
  process.on('SIGTERM', stop)
  process.on('SIGINT', stop)
}

main().catch((error: unknown) => {
  const text = error instanceof ConfigError ? error.message : error
  console.error(text)
  process.exit(1)
})
