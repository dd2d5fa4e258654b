import { setTimeout as delay } from 'node:timers/promises'
import { openDataFolder } from './data-folder.ts'
import { directTarget, removeContainers } from './engine/remove-containers.ts'
import { apiClient } from './api-client.ts'
import { existsSync } from 'node:fs'
import { openRunFolder, type RunFolder } from './run-folder.ts'
import { say } from './say.ts'
import type { Settings } from './settings.ts'
import { askDown, readStatus } from './supervisor/control-client.ts'
import { readRecord, stopLeftovers } from './supervisor/process-record.ts'
import { takeUpLock } from './up-lock.ts'

/** The longest way down: one deadline after the other, with something to spare. */
const stopTimeoutMs = 60_000

/** Stops every process and every container of this Berth; data and the Docker Engine stay. */
export async function down(settings: Settings): Promise<void> {
  if (!existsSync(settings.data)) {
    say('Berth is not running; there is nothing to stop.')
    return
  }
  const data = await openDataFolder(settings.data)
  const run = await openRunFolder(data.path)
  const release = await takeUpLock(run.upLock)
  try {
    const local = `unix://${settings.dockerSocket}`
    const endpoints = new Set([local, ...(await nodeEndpoints(settings, data.adminToken))])
    await stopBerth(run)
    let removed = 0
    for (const endpoint of endpoints) {
      const target = directTarget(endpoint)
      if (target !== undefined) removed += await removeContainers(target, data.installation)
    }
    say(`Berth is down (${removed} containers removed). Data stays in ${data.path}.`)
  } finally {
    await release()
  }
}

/** Ends the supervisor, which takes the others with it, then whatever is left. Fine when nothing runs. */
export async function stopBerth(run: RunFolder): Promise<void> {
  const status = await readStatus(run.supervisorSocket).catch(() => undefined)
  if (status !== undefined) {
    await askDown(run.supervisorSocket).catch(() => undefined)
    const deadline = performance.now() + stopTimeoutMs
    while (readRecord(run.processFile).length > 0 && performance.now() < deadline) await delay(50)
  }
  await stopLeftovers(run.processFile)
}

/** Registered engines; asked while the API still answers. */
async function nodeEndpoints(settings: Settings, token: string): Promise<string[]> {
  try {
    const { body } = await apiClient(settings.ports.api, token).call('GET', '/nodes')
    const { items = [] } = body as { items?: { endpoint?: string }[] }
    return items.flatMap(({ endpoint }) => endpoint ?? [])
  } catch {
    return []
  }
}
