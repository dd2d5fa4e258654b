import { pino } from 'pino'
import { parseConfig } from './config.ts'
import { startRouter } from './router.ts'

/** Access lines are collected up to this size, and written at least every second. */
const logBufferBytes = 4096
const logFlushMs = 1000

const config = parseConfig(process.env)
const destination = pino.destination({ fd: 1, sync: false, minLength: logBufferBytes })
const log = pino({ level: config.logLevel, base: { process: 'router' } }, destination)
setInterval(() => destination.flush(), logFlushMs).unref()

const router = await startRouter(config, log).catch((error: unknown) => {
  log.fatal({ err: error }, 'router could not start')
  destination.flushSync()
  process.exit(1)
})

let stopping = false
async function stop(): Promise<void> {
  if (stopping) return
  stopping = true
  await router.stop()
  destination.flushSync()
  process.exit(0)
}
process.on('SIGTERM', () => void stop())
process.on('SIGINT', () => void stop())
