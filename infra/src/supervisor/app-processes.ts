import { hostname } from 'node:os'
import { join } from 'node:path'
import type { DataFolder } from '../data-folder.ts'
import { callHttp } from '../http-call.ts'
import { isRoot, routerAccount } from '../machine/accounts.ts'
import type { RunFolder } from '../run-folder.ts'
import { routerAdminPorts, type Settings } from '../settings.ts'
import { privateDatabaseUrl } from '../stores/postgres.ts'
import { privateRedisUrls } from '../stores/redis.ts'
import type { ProcessSpec } from './process-spec.ts'
import type { Shelter } from './shelter.ts'

export type AppContext = {
  settings: Settings
  data: DataFolder
  run: RunFolder
  shelter: Shelter
  /** Sockets that the supervisor has bound for the routers: the edge for all of them, an admin port for each. */
  sockets: { edge: readonly number[]; tls: readonly number[]; admin: readonly number[] }
}

/** After standard input, output and error. */
const firstDescriptor = 3
const stopGraceMs = 10_000
/** Longer than the longest drain of a router: requests of up to 600 s. */
const drainGraceMs = 620_000

/** What API, worker and migration find in their environment; the table of it stands in infra/README.md. */
function appEnvironment({ settings, data, run }: AppContext): Record<string, string> {
  const redis = settings.redisUrl ?? privateRedisUrls(data, run).worker
  return {
    ...commonEnvironment(settings),
    BERTH_DATA: data.path,
    BERTH_INSTALLATION: data.installation,
    DATABASE_URL: settings.databaseUrl ?? privateDatabaseUrl(run),
    REDIS_URL: redis,
    BERTH_MASTER_KEY_FILE: data.masterKeyFile,
    BERTH_ADMIN_TOKEN_FILE: data.adminTokenFile,
    BERTH_HUB_SOCKET: run.hubSocket,
    BERTH_CONTROL_SOCKET: run.controlSocket,
    BERTH_NETWORK_CIDR: settings.networkCidr,
    BERTH_BUSYBOX: settings.passedOn['BERTH_BUSYBOX'] ?? '/bin/busybox',
  }
}

/**
 * The router gets no database, no key and no token: only what it needs to serve. Of a foreign Redis it gets the user
 * that was made for it and no other: `REDIS_URL` may do everything. `index` counts the routers from 0.
 */
export function routerEnvironment(context: AppContext, index = 0): Record<string, string> {
  const { settings, data, run, sockets } = context
  const firstTls = firstDescriptor + sockets.edge.length
  const admin = firstTls + sockets.tls.length
  const ownRedis = settings.redisUrl === undefined ? privateRedisUrls(data, run).router : undefined
  const redis = settings.routerRedisUrl ?? ownRedis
  const named = settings.passedOn['BERTH_ROUTER_NAME']
  const tableFile = index === 0 ? run.routeTable : run.routeTable.replace(/\.json$/, `-${index + 1}.json`)
  return {
    ...commonEnvironment(settings, ['BERTH_DATA', 'BERTH_MASTER_KEY_FILE', 'BERTH_ADMIN_TOKEN_FILE']),
    BERTH_INSTALLATION: data.installation,
    ...(redis === undefined ? {} : { BERTH_ROUTER_REDIS_URL: redis }),
    BERTH_HUB_SOCKET: run.hubSocket,
    BERTH_ROUTE_TABLE_FILE: tableFile,
    BERTH_ROUTER_ADMIN_PORT: String(routerAdminPorts(settings)[index]),
    ...(index === 0 ? {} : { BERTH_ROUTER_NAME: `${named || hostname()}-${index + 1}` }),
    BERTH_TRUSTED_PROXIES: settings.trustedProxies,
    BERTH_EDGE_FDS: sockets.edge.map((_, index) => firstDescriptor + index).join(','),
    BERTH_TLS_FDS: sockets.tls.map((_, index) => firstTls + index).join(','),
    ...(settings.tls ? { BERTH_TLS_FOLDER: run.certificates } : {}),
    BERTH_ADMIN_FD: String(admin),
  }
}

function commonEnvironment(settings: Settings, without: readonly string[] = []): Record<string, string> {
  const { ports } = settings
  const passed = Object.entries(settings.passedOn).filter(([name]) => !without.includes(name))
  return {
    ...Object.fromEntries(passed),
    PATH: settings.searchPath,
    LANG: 'C.UTF-8',
    BERTH_DOMAIN: settings.domain,
    BERTH_EDGE_PORT: String(ports.edge),
    BERTH_API_PORT: String(ports.api),
    BERTH_ROUTER_ADMIN_PORT: String(ports.routerAdmin),
    BERTH_WORKER_ADMIN_PORT: String(ports.workerAdmin),
    BERTH_REGISTRY_PORT: String(ports.registry),
  }
}

export type AppProcesses = { api: ProcessSpec; worker: ProcessSpec; routers: ProcessSpec[] }

/** API, worker and routers, in the order in which they start. */
export function appProcesses(context: AppContext): AppProcesses {
  const { project, ports } = context.settings
  const env = appEnvironment(context)
  const node = join(project, 'node_modules/.bin/node')
  const main = (app: string) => [node, join(project, 'apps', app, 'src/main.ts')]
  const app = (name: 'api' | 'worker', port: number): ProcessSpec => ({
    name,
    command: main(name),
    env,
    cwd: project,
    checkReady: () => answersReady(port),
    stopSignal: 'SIGTERM',
    stopGraceMs,
  })
  return {
    api: app('api', ports.api),
    // Group members may use the worker's sockets: the router's group is on the folder of the hub.
    worker: { ...app('worker', ports.workerAdmin), umask: 0o007 },
    routers: routerAdminPorts(context.settings).map((port, index) => routerProcess(context, port, index)),
  }
}

/** "router", then "router-2", "router-3" and so on. */
function routerProcess(context: AppContext, port: number, index: number): ProcessSpec {
  const { shelter, sockets, settings } = context
  const parts = ['node_modules/.bin/node', 'apps/router/src/main.ts']
  const command = parts.map((part) => shelter.path(join(settings.project, part)))
  return {
    name: index === 0 ? 'router' : `router-${index + 1}`,
    ...shelter.enter(command, isRoot() ? routerAccount : undefined),
    env: routerEnvironment(context, index),
    cwd: '/',
    descriptors: [...sockets.edge, ...sockets.tls, ...sockets.admin.slice(index, index + 1)],
    checkReady: (pid) => answersReady(port, pid),
    stopSignal: 'SIGTERM',
    stopGraceMs,
    handover: true,
    drainGraceMs,
  }
}

/** The one-shot that brings the database up to date. */
export function migration(context: AppContext): { command: string[]; env: Record<string, string> } {
  const { project } = context.settings
  const main = join(project, 'packages/db/src/migrate-main.ts')
  return { command: [join(project, 'node_modules/.bin/node'), main], env: appEnvironment(context) }
}

/**
 * Two routers share the admin port during a handover. A router that names itself in `x-berth-pid` is believed
 * for itself only; an answer without that header counts for whoever was asked.
 */
async function answersReady(port: number, pid?: number): Promise<void> {
  const { status, headers, body } = await callHttp({ target: { port }, path: '/readyz', timeoutMs: 2000 })
  const answered = headers['x-berth-pid']
  if (pid !== undefined && answered !== undefined && answered !== String(pid))
    throw new Error(`/readyz was answered by another process (pid ${String(answered)})`)
  if (status !== 200) throw new Error(`/readyz answers ${status} ${body.slice(0, 200)}`)
}
