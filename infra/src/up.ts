import { setTimeout as delay } from 'node:timers/promises'
import { type ApiClient, apiClient } from './api-client.ts'
import { checkPorts } from './check-ports.ts'
import { openDataFolder, type DataFolder } from './data-folder.ts'
import { ensureEngine } from './engine/local-engine.ts'
import { Failure } from './failure.ts'
import { openRunFolder, type RunFolder } from './run-folder.ts'
import { ensureSample } from './sample.ts'
import { say } from './say.ts'
import type { Settings } from './settings.ts'
import { startSupervisor, waitUntilReady } from './start-supervisor.ts'
import { stopBerth } from './stop-berth.ts'
import { checkForeignRedis } from './stores/foreign-redis.ts'
import { askDown, readStatus } from './supervisor/control-client.ts'
import { readRecord, stopLeftovers, supervisorWasKilled } from './supervisor/process-record.ts'
import { differingVariables, readRunningSettings } from './supervisor/running-settings.ts'
import type { SupervisorStatus } from './supervisor/supervisor.ts'
import { takeUpLock } from './up-lock.ts'

/**
 * Brings everything up and returns when it is ready; the first time that is when the sample answers. What runs
 * already stays as it is; what an earlier start left half done is ended or finished.
 *
 * With `foreground` it stays until that aborts, also in the middle of the start, or Berth is stopped in another way.
 * What is up then is taken down by whoever has aborted it.
 */
export async function up(settings: Settings, foreground?: AbortSignal): Promise<void> {
  const data = await openDataFolder(settings.data)
  const run = await openRunFolder(data.path)
  const release = await takeUpLock(data.path)
  try {
    await bringUp(settings, data, run, foreground)
  } catch (error) {
    if (foreground?.aborted !== true) throw error
  } finally {
    await release()
  }
  if (foreground !== undefined) await stayUntilStopped(data, run, foreground)
}

async function bringUp(
  settings: Settings,
  data: DataFolder,
  run: RunFolder,
  signal: AbortSignal | undefined,
): Promise<void> {
  if (settings.localNode && (await ensureEngine(settings.dockerSocket, data.logs)) === 'started')
    say('Started the Docker Engine.')
  signal?.throwIfAborted()
  await ensureProcesses(settings, data, run, signal)
  const url = settings.localNode ? await introduce(settings, data, signal) : undefined
  printTour(settings, url)
}

async function ensureProcesses(
  settings: Settings,
  data: DataFolder,
  run: RunFolder,
  signal: AbortSignal | undefined,
): Promise<void> {
  const running = await readStatus(run.supervisorSocket).catch(() => undefined)
  if (running !== undefined && (running.phase === 'ready' || running.phase === 'starting')) {
    checkSamePorts(settings, running)
    await tellOtherSettings(settings, run)
    await waitUntilReady(run, data.logs, { signal })
    return
  }
  if (running !== undefined) await askDown(run.supervisorSocket).catch(() => undefined)
  if (readRecord(run.processFile).length > 0) {
    const ended = await stopLeftovers(run.processFile)
    say(`Ended what an unfinished start had left: ${ended.join(', ')}.`)
  }
  await checkPorts(settings)
  await checkForeignStores(settings)
  signal?.throwIfAborted()
  say(`Starting Berth (data in ${data.path}) ...`)
  if (settings.redisUrl !== undefined && settings.routerRedisUrl === undefined)
    say('The router gets no Redis, its second way to the leader: BERTH_ROUTER_REDIS_URL is not set.')
  const supervisor = startSupervisor(settings, data.logs)
  try {
    await waitUntilReady(run, data.logs, { supervisor, signal })
  } catch (error) {
    await stopBerth(run, supervisor)
    throw error
  }
}

async function checkForeignStores({ databaseUrl, redisUrl }: Settings): Promise<void> {
  if (databaseUrl !== undefined) {
    // Loaded where it is needed: the database's libraries would double the time of every other command.
    const { checkForeignPostgres } = await import('./stores/foreign-postgres.ts')
    await checkForeignPostgres(databaseUrl)
  }
  if (redisUrl !== undefined) await checkForeignRedis(redisUrl)
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

async function tellOtherSettings(settings: Settings, run: RunFolder): Promise<void> {
  const running = await readRunningSettings(run)
  const names = running === undefined ? [] : differingVariables(running, settings)
  if (names.length === 0) return
  say(`Berth runs with other values of ${names.join(', ')}; ./berth down and ./berth up apply those of now.`)
}

/** Registers the local engine and deploys the sample. */
async function introduce(
  settings: Settings,
  data: DataFolder,
  signal: AbortSignal | undefined,
): Promise<string | undefined> {
  const api = apiClient(settings.ports.api, data.adminToken)
  await registerLocalNode(settings, api)
  return await ensureSample(settings, api, signal)
}

async function registerLocalNode({ dockerSocket }: Settings, api: ApiClient): Promise<void> {
  const endpoint = `unix://${dockerSocket}`
  const node = { name: 'local', endpoint, address: '127.0.0.1' }
  const { status } = await api.expect([200, 201, 202, 409], 'POST', '/nodes', node)
  if (status !== 409) return
  const { body } = await api.expect([200, 404], 'GET', '/nodes/local')
  const known = (body as { endpoint?: string }).endpoint
  if (known !== undefined && known !== endpoint)
    say(`Node local is the engine at ${known}; delete that node to have ${endpoint} in its place.`)
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

const lookEveryMs = 500

/** Returns after an orderly end; a Failure when the supervisor has gone without one. */
async function stayUntilStopped(data: DataFolder, run: RunFolder, asked: AbortSignal): Promise<void> {
  while (!asked.aborted) {
    // A supervisor that is too busy to answer is no reason to end.
    const status = await readStatus(run.supervisorSocket).catch(() => 'silent' as const)
    if (status === undefined) {
      if (!supervisorWasKilled(run.processFile)) return
      throw new Failure(`The supervisor has ended; see ${data.logs}/supervisor.log.`)
    }
    await delay(lookEveryMs, undefined, { signal: asked }).catch(() => undefined)
  }
}
