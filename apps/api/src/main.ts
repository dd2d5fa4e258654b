import { Keyring, openDatabase, type Database } from '@berth/db'
import { readFile } from 'node:fs/promises'
import type { Server } from 'node:http'
import { setTimeout as delay } from 'node:timers/promises'
import { pino, type Logger } from 'pino'
import { createApi } from './app.ts'
import { ensureFirstToken } from './auth/first-token.ts'
import { parseConfig, type ApiConfig } from './config.ts'
import { createApiServer } from './http/api-server.ts'
import { openReconcileHints } from './queue/reconcile-queue.ts'

const maxConnections = 20
const retryStartMs = 500
/** Open streams are cut after this; everything else has answered long before. */
const closeGraceMs = 3_000

async function main(): Promise<void> {
  const config = parseConfig(process.env)
  const log = pino({ name: 'api', level: config.logLevel })
  const keyring = await Keyring.fromFile(config.masterKeyFile)
  const token = (await readFile(config.adminTokenFile, 'utf8')).trim()
  const onConnectionLost = (message: string) => log.warn({ message }, 'database connection lost')
  const db = openDatabase(config.databaseUrl, {
    applicationName: 'berth-api',
    maxConnections,
    onConnectionLost,
  })
  const probe = openDatabase(config.databaseUrl, { applicationName: 'berth-api-probe', maxConnections: 1 })
  const hints = openReconcileHints(config.redisUrl, config.installation, log)

  const stopping = new AbortController()
  let started = false
  const start = prepare(db, token, stopping.signal, log).then(() => {
    started = true
  })

  const { domain, edgePort, tlsPort, controlSocket } = config
  const context = { keyring, domain, edgePort, tlsPort, controlSocket }
  const app = createApi({ context, db, probe, hints, log, started: () => started })
  const server = createApiServer(app.fetch, log)
  await listen(server, config)
  log.info({ address: config.address, port: config.port }, 'listening')

  const stop = async (signal: string) => {
    log.info({ signal }, 'stopping')
    stopping.abort()
    await closeServer(server)
    const ends = await Promise.allSettled([start, hints.close(), db.close(), probe.close()])
    const failures = ends.flatMap((end) => (end.status === 'rejected' ? [end.reason as unknown] : []))
    if (failures.length > 0) throw new AggregateError(failures, 'closing failed')
    log.info('stopped')
  }
  for (const signal of ['SIGTERM', 'SIGINT'] as const)
    process.once(signal, () => {
      stop(signal).then(
        () => process.exit(0),
        (error: unknown) => {
          log.error({ err: error }, 'closing failed')
          process.exit(1)
        },
      )
    })
}

/** Tries until the database takes the first token; the API answers meanwhile, but is not ready. */
async function prepare(db: Database, token: string, signal: AbortSignal, log: Logger): Promise<void> {
  let reported = false
  while (!signal.aborted) {
    try {
      return await ensureFirstToken(db, token)
    } catch (error) {
      if (!reported) log.warn({ err: error }, 'the first token is not stored yet')
      reported = true
      await delay(retryStartMs, undefined, { signal }).catch(() => {})
    }
  }
}

function listen(server: Server, { address, port }: ApiConfig): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', reject)
    server.listen(port, address, resolve)
  })
}

async function closeServer(server: Server): Promise<void> {
  const closed = new Promise<void>((resolve) => {
    server.close(() => resolve())
  })
  const cut = setTimeout(() => server.closeAllConnections(), closeGraceMs)
  await closed
  clearTimeout(cut)
}

main().catch((error: unknown) => {
  process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n`)
  process.exit(1)
})
