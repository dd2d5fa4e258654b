import { once } from 'node:events'
import { setTimeout as delay } from 'node:timers/promises'
import { apiClient } from './api-client.ts'
import { checkPorts } from './check-ports.ts'
import { openDataFolder, type DataFolder } from './data-folder.ts'
import { stopBerth } from './down.ts'
import { ensureEngine } from './engine/local-engine.ts'
import { Failure } from './failure.ts'
import { openRunFolder, type RunFolder } from './run-folder.ts'
import { ensureSample } from './sample.ts'
import { say } from './say.ts'
import type { Settings } from './settings.ts'
import { checkForeignRedis } from './stores/foreign-redis.ts'
import { startSupervisor, waitUntilReady } from './start-supervisor.ts'
import { askDown, readStatus } from './supervisor/control-client.ts'
import { readRecord, stopLeftovers } from './supervisor/process-record.ts'
import type { SupervisorStatus } from './supervisor/supervisor.ts'
import { takeUpLock } from './up-lock.ts'

/**
 * Brings everything up and returns when the sample answers. What runs already stays as it is; what an earlier
 * start left half done is ended or finished.
 */
export async function up(settings: Settings, foreground: boolean): Promise<void> {
  const data = await openDataFolder(settings.data)
  const run = await openRunFolder(data.path)
  const release = await takeUpLock(run.upLock)
  try {
    if (settings.localNode && (await ensureEngine(settings.dockerSocket, data.logs)) === 'started')
      say('Started the Docker Engine.')
    await ensureProcesses(settings, data, run)
    const url = settings.localNode ? await introduce(settings, data) : undefined
    printTour(settings, url)
  } finally {
    await release()
  }
  if (foreground) await stayUntilStopped(settings, run)
}

async function ensureProcesses(settings: Settings, data: DataFolder, run: RunFolder): Promise<void> {
  const running = await readStatus(run.supervisorSocket).catch(() => undefined)
  if (running !== undefined && (running.phase === 'ready' || running.phase === 'starting')) {
    checkSamePorts(settings, running)
    await waitUntilReady(run, data.logs)
    return
  }
  if (running !== undefined) await askDown(run.supervisorSocket).catch(() => undefined)
  if (readRecord(run.processFile).length > 0) {
    const ended = await stopLeftovers(run.processFile)
    say(`Ended what an unfinished start had left: ${ended.join(', ')}.`)
  }
  await checkPorts(settings)
  if (settings.redisUrl !== undefined) await checkForeignRedis(settings.redisUrl)
  say(`Starting Berth (data in ${data.path}) ...`)
  if (settings.redisUrl !== undefined && settings.routerRedisUrl === undefined)
    say('The router gets no Redis, its second way to the leader: BERTH_ROUTER_REDIS_URL is not set.')
  const supervisor = startSupervisor(settings, data.logs)
  try {
    await waitUntilReady(run, data.logs, supervisor)
  } catch (error) {
    await stopBerth(run)
    throw error
  }
}

function checkSamePorts(settings: Settings, running: SupervisorStatus): void {
  for (const [name, port] of Object.entries(settings.ports)) {
    const other = running.ports[name]
    if (other !== undefined && other !== port)
      throw new Failure(
        `Berth is running with ${name} on port ${other}; run ./berth down before moving it to ${port}.`,
      )
  }
}

/** Registers the local engine and deploys the sample. */
async function introduce(settings: Settings, data: DataFolder): Promise<string | undefined> {
  const api = apiClient(settings.ports.api, data.adminToken)
  await api.expect([200, 201, 202, 409], 'POST', '/nodes', {
    name: 'local',
    endpoint: `unix://${settings.dockerSocket}`,
    address: '127.0.0.1',
  })
  return await ensureSample(settings, api)
}

function printTour({ ports, data, localNode }: Settings, url: string | undefined): void {
  const api = `http://127.0.0.1:${ports.api}`
  say('')
  say('Berth is up.')
  if (url !== undefined) say(`  sample    ${url}`)
  say(`  API       ${api}   (its pages: ${api}/docs)`)
  say(`  registry  127.0.0.1:${ports.registry}`)
  say(`  token     ${data}/admin-token`)
  if (!localNode) return
  say('')
  say('Try next:')
  if (url !== undefined) say(`  curl ${url}`)
  say(`  curl -H "Authorization: Bearer $(cat ${data}/admin-token)" ${api}/services`)
}

/** For `--foreground`: ends with the supervisor, and takes it down on SIGINT or SIGTERM. */
async function stayUntilStopped(settings: Settings, run: RunFolder): Promise<void> {
  const asked = new AbortController()
  const stop = () => asked.abort()
  process.once('SIGINT', stop)
  process.once('SIGTERM', stop)
  const stopped = once(asked.signal, 'abort')
  for (;;) {
    await Promise.race([stopped, delay(1000, undefined, { ref: true })])
    if (asked.signal.aborted) {
      await stopBerth(run)
      return
    }
    const status = await readStatus(run.supervisorSocket).catch(() => undefined)
    if (status === undefined)
      throw new Failure(`The supervisor has ended; see ${settings.data}/logs/supervisor.log.`)
  }
}
