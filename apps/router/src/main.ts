import { pino } from 'pino'
import { parseConfig } from './config.ts'
import { LogWriter } from './observability/log-writer.ts'
import { startRouter } from './router.ts'

/** What is logged is written at least so often. */
const logFlushMs = 1000
/** At the end, so long is waited for whoever reads the log. */
const lastLinesMs = 2000

const config = parseConfig(process.env)
const lines = new LogWriter(1)
const log = pino({ level: config.logLevel, base: { process: 'router' } }, lines)
setInterval(() => lines.flush(), logFlushMs).unref()

async function leave(code: number): Promise<never> {
  // An exit would wait for the thread that writes, for as long as nobody reads.
  if (!(await lines.flushed(lastLinesMs))) process.kill(process.pid, 'SIGKILL')
  process.exit(code)
}

const router = await startRouter(config, log, lines).catch(async (error: unknown) => {
  log.fatal({ err: error }, 'router could not start')
  return await leave(1)
})

let stopping = false
async function stop(): Promise<void> {
  if (stopping) return
  stopping = true
  await router.stop()
  await leave(0)
}
process.on('SIGTERM', () => void stop())
process.on('SIGINT', () => void stop())
