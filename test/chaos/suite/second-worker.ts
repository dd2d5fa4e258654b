import { appendFile, readFile } from 'node:fs/promises'
import { join, resolve } from 'node:path'
import { callHttp } from '../../../infra/src/http-call.ts'
import { startTestChild } from '../../support/child.ts'
import { freePorts } from '../../support/free-ports.ts'
import type { Platform } from '../../support/platform.ts'
import { until } from '../../support/poll.ts'

const projectFolder = resolve(import.meta.dirname, '../../..')

export type SecondWorker = {
  pid: number
  leads(): Promise<boolean>
  /** Gracefully: it gives its lease back. The last of what it logged goes to the platform's logs. */
  stop(): Promise<void>
}

/**
 * One more worker beside the supervised one: with its environment, and with an admin port and sockets of its own, as
 * on another machine. Routers hear of it through Redis.
 */
export async function startSecondWorker(platform: Platform): Promise<SecondWorker> {
  const { pid } = await platform.processStatus('worker')
  const port = (await freePorts()).workerAdmin
  const first = await environmentOf(pid ?? 0)
  const env = {
    ...first,
    BERTH_WORKER_ADMIN_PORT: String(port),
    BERTH_HUB_SOCKET: `${first['BERTH_HUB_SOCKET']}2`,
    BERTH_CONTROL_SOCKET: `${first['BERTH_CONTROL_SOCKET']}2`,
  }
  // Its sockets are for the router's group, as the supervisor makes them.
  const before = process.umask(0o007)
  const child = startTestChild([process.execPath, resolve(projectFolder, 'apps/worker/src/main.ts')], {
    cwd: projectFolder,
    env,
  })
  process.umask(before)
  const ask = (path: string) => callHttp({ target: { port }, path, timeoutMs: 2000 })
  await until(async () => (await ask('/readyz')).status === 200, {
    timeoutMs: 60_000,
    describe: 'the second worker to be ready',
  }).catch(async (error: unknown) => {
    await child.stop('SIGKILL')
    throw new Error(`the second worker did not start: ${child.output()}`, { cause: error })
  })
  return {
    pid: child.process.pid ?? 0,
    leads: async () => /^berth_worker_leading 1$/m.test((await ask('/metrics')).body),
    async stop() {
      await child.stop('SIGTERM')
      await appendFile(join(platform.connection.data, 'logs/second-worker.log'), child.output())
    },
  }
}

async function environmentOf(pid: number): Promise<Record<string, string>> {
  const text = await readFile(`/proc/${pid}/environ`, 'utf8')
  const entries = text.split('\0').filter((entry) => entry.includes('='))
  return Object.fromEntries(
    entries.map((entry) => [entry.slice(0, entry.indexOf('=')), entry.slice(entry.indexOf('=') + 1)]),
  )
}
