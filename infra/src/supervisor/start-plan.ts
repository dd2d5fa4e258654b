import { rm } from 'node:fs/promises'
import type { DataFolder } from '../data-folder.ts'
import { Failure } from '../failure.ts'
import { isRoot, routerAccount } from '../machine/accounts.ts'
import type { RunFolder } from '../run-folder.ts'
import { routerAdminPorts, type Settings } from '../settings.ts'
import { postgresProcess, preparePostgres } from '../stores/postgres.ts'
import { prepareRedis, redisProcess } from '../stores/redis.ts'
import { prepareRegistry, registryProcess } from '../stores/registry.ts'
import { appProcesses, migration } from './app-processes.ts'
import { keepCertificateCopies } from './certificate-copies.ts'
import { bindSocket, type ListeningSocket } from './listening-socket.ts'
import { openCode } from './open-code.ts'
import { chooseShelter } from './shelter.ts'
import type { Say, StartPlan } from './supervisor.ts'

/** Prepares folders and configuration, binds the routers' sockets, and says what to start in which order. */
export async function startPlan(
  settings: Settings,
  data: DataFolder,
  run: RunFolder,
  say: Say,
): Promise<StartPlan> {
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

  const { tls } = settings
  const account = isRoot() ? routerAccount : undefined
  if (tls) await keepCertificateCopies({ from: tls.folder, to: run.certificates, account, say })
  else await rm(run.certificates, { recursive: true, force: true })
  const onEdge = (port: number) =>
    settings.edgeAddresses.flatMap((address) => bindSocket(address, port) ?? [])
  const bound = {
    edge: onEdge(ports.edge),
    tls: tls ? onEdge(tls.port) : [],
    admin: routerAdminPorts(settings).flatMap((port) => bindSocket('127.0.0.1', port) ?? []),
  }
  if (bound.edge.length === 0) throw new Failure('No address of BERTH_EDGE_ADDRESSES can be listened on.')
  const descriptorsOf = (sockets: ListeningSocket[]) => sockets.map(({ descriptor }) => descriptor)
  const sockets = {
    edge: descriptorsOf(bound.edge),
    tls: descriptorsOf(bound.tls),
    admin: descriptorsOf(bound.admin),
  }
  const context = { settings, data, run, shelter, sockets }
  const apps = appProcesses(context)
  return {
    stores,
    migrate: migration(context),
    apps: [apps.api, apps.worker, ...apps.routers],
  }
}
