import type { DataFolder } from '../data-folder.ts'
import { Failure } from '../failure.ts'
import type { RunFolder } from '../run-folder.ts'
import { routerAdminPorts, type Settings } from '../settings.ts'
import { postgresProcess, preparePostgres } from '../stores/postgres.ts'
import { prepareRedis, redisProcess } from '../stores/redis.ts'
import { prepareRegistry, registryProcess } from '../stores/registry.ts'
import { appProcesses, migration } from './app-processes.ts'
import { bindSocket, type ListeningSocket } from './listening-socket.ts'
import { openCode } from './open-code.ts'
import { chooseShelter } from './shelter.ts'
import type { StartPlan } from './supervisor.ts'

/** Prepares folders and configuration, binds the routers' sockets, and says what to start in which order. */
export async function startPlan(settings: Settings, data: DataFolder, run: RunFolder): Promise<StartPlan> {
  const { ports } = settings
  await openCode(settings.project)
  const shelter = chooseShelter(settings.project, data.path, run)
  const stores = []
  if (settings.databaseUrl === undefined) {
    await preparePostgres(data.path, shelter)
    stores.push(postgresProcess(settings, data.path, run, shelter))
  }
  if (settings.redisUrl === undefined) {
    await prepareRedis(data, run, shelter)
    stores.push(redisProcess(settings, data, run, shelter))
  }
  await prepareRegistry(data.path, run, shelter, ports.registry)
  stores.push(registryProcess(settings, run, shelter))

  const edge4 = bindSocket('127.0.0.1', ports.edge)
  const admin = routerAdminPorts(settings).flatMap((port) => bindSocket('127.0.0.1', port) ?? [])
  if (edge4 === undefined || admin.length < settings.routers)
    throw new Failure('127.0.0.1 cannot be listened on.')
  const edge6 = bindSocket('::1', ports.edge)
  const descriptorOf = ({ descriptor }: ListeningSocket) => descriptor
  const edge = [edge4, ...(edge6 === undefined ? [] : [edge6])].map(descriptorOf)
  const context = { settings, data, run, shelter, sockets: { edge, admin: admin.map(descriptorOf) } }
  const apps = appProcesses(context)
  return {
    stores,
    migrate: migration(context),
    apps: [apps.api, apps.worker, ...apps.routers],
  }
}
