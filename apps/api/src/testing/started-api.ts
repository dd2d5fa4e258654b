import { Keyring, openDatabase, type Database } from '@berth/db'
import { createTestDatabase, type TestDatabase } from '@berth/db/testing'
import { randomBytes } from 'node:crypto'
import { pino } from 'pino'
import { createApi } from '../app.ts'
import { ensureFirstToken } from '../auth/first-token.ts'
import type { ApiContext } from '../context.ts'
import { createApiServer } from '../http/api-server.ts'
import type { Wake } from '../routes/route.ts'
import { listenAnywhere } from './listen-anywhere.ts'
import { callHttp, type Called, type CallOptions } from './call.ts'

export type StartedApi = {
  port: number
  context: ApiContext
  database: TestDatabase
  db: Database
  /** The first platform token. */
  token: string
  /** What was sent to the queue. */
  wakes: Wake[]
  /** What was logged, one JSON text per line. */
  log: string[]
  /** With the platform token unless `options` names another. */
  call: (method: string, path: string, options?: CallOptions) => Promise<Called>
  anonymous: (method: string, path: string, options?: CallOptions) => Promise<Called>
  stop: () => Promise<void>
}

/** The API on a port of its own, over a database of its own. */
export async function startApi(
  postgresUrl: string,
  settings: {
    controlSocket?: string
    /** The URL by which the API reaches its database, for a way that fails on demand. */
    reachDatabase?: (url: string) => Promise<string>
  } = {},
): Promise<StartedApi> {
  const database = await createTestDatabase(postgresUrl)
  const url = (await settings.reachDatabase?.(database.url)) ?? database.url
  const db = openDatabase(url, { applicationName: 'berth-api', maxConnections: 8 })
  const probe = openDatabase(url, { applicationName: 'berth-api-probe', maxConnections: 1 })
  const token = `berth_${randomBytes(32).toString('base64url')}`
  await ensureFirstToken(db, token)
  const wakes: Wake[] = []
  const context: ApiContext = {
    keyring: new Keyring(randomBytes(32)),
    domain: 'localhost',
    edgePort: 8080,
    controlSocket: settings.controlSocket ?? '/nowhere/control.sock',
  }
  const lines: string[] = []
  const log = pino({ level: 'debug' }, { write: (line) => void lines.push(line) })
  const app = createApi({
    context,
    db,
    probe,
    hints: { send: (service, reason) => void wakes.push({ service, reason }) },
    log,
    started: () => true,
  })
  const { port, close } = await listenAnywhere(createApiServer(app.fetch, log))
  return {
    port,
    context,
    database,
    db,
    token,
    wakes,
    log: lines,
    call: (method, path, options = {}) => callHttp(port, method, path, { token, ...options }),
    anonymous: (method, path, options = {}) => callHttp(port, method, path, options),
    async stop() {
      await close()
      await Promise.all([db.close(), probe.close()])
      await database.drop()
    },
  }
}
