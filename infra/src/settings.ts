import { isIP } from 'node:net'
import { isAbsolute, resolve } from 'node:path'
import { Failure } from './failure.ts'

/** Where Berth listens, all on loopback. Each has an environment variable of its own. */
export const portVariables = {
  edge: { variable: 'BERTH_EDGE_PORT', fallback: 8080 },
  api: { variable: 'BERTH_API_PORT', fallback: 8081 },
  routerAdmin: { variable: 'BERTH_ROUTER_ADMIN_PORT', fallback: 8082 },
  workerAdmin: { variable: 'BERTH_WORKER_ADMIN_PORT', fallback: 8083 },
  registry: { variable: 'BERTH_REGISTRY_PORT', fallback: 5050 },
} as const
export type PortName = keyof typeof portVariables
export type Ports = Readonly<Record<PortName, number>>

/** More than cores that a machine has for them. */
const maxRouters = 16
const adminPortStep = 10

/** Where the routers tell of their health, the first on the port of the settings and each further one 10 above. */
export function routerAdminPorts({ ports, routers }: Pick<Settings, 'ports' | 'routers'>): number[] {
  return Array.from({ length: routers }, (_, index) => ports.routerAdmin + index * adminPortStep)
}

export type Settings = Readonly<{
  /** The folder that holds package.json and the `berth` entry. */
  project: string
  /** $BERTH_DATA, absolute. */
  data: string
  ports: Ports
  /** How many routers share the edge. */
  routers: number
  /** Addresses on which services are served, loopback alone by default. */
  edgeAddresses: readonly string[]
  /** Set when services are served over TLS too; `redirects` sends plain requests there. */
  tls: Readonly<{ port: number; folder: string; redirects: boolean }> | undefined
  domain: string
  networkCidr: string
  trustedProxies: string
  /** Set when the stores are somebody else's; then no private ones are started. */
  databaseUrl: string | undefined
  redisUrl: string | undefined
  routerRedisUrl: string | undefined
  /** The engine that becomes node `local`. */
  dockerSocket: string
  /** PATH, for programs that are looked up by name. */
  searchPath: string
  /** Set to "none" to start without a local node and without the sample: test platforms add their own. */
  localNode: boolean
  /** Further variables with the prefix BERTH_ go to the processes unchanged. */
  passedOn: Readonly<Record<string, string>>
}>

/** Parses the environment; every bad value is named in one Failure. */
export function parseSettings(env: NodeJS.ProcessEnv, project: string, cwd: string): Settings {
  const problems: string[] = []
  const ports = Object.fromEntries(
    Object.entries(portVariables).map(([name, { variable, fallback }]) => {
      const text = env[variable] ?? String(fallback)
      const port = Number(text)
      const isPort = /^[0-9]{1,5}$/.test(text) && port >= 1 && port <= 65_535
      if (!isPort) problems.push(`${variable} is "${text}" and must be a port from 1 to 65535`)
      return [name, port]
    }),
  ) as Record<PortName, number>
  problems.push(...sharedPorts(ports))
  const routersText = env['BERTH_ROUTERS'] || '1'
  const routers = Number(routersText)
  if (/^[0-9]{1,2}$/.test(routersText) && routers >= 1 && routers <= maxRouters)
    problems.push(...unusableAdminPorts(ports, routers))
  else problems.push(`BERTH_ROUTERS is "${routersText}" and must be a whole number from 1 to ${maxRouters}`)
  const data = absolute(env['BERTH_DATA'] ?? resolve(project, '.berth'), cwd)
  const edgeAddresses = (env['BERTH_EDGE_ADDRESSES'] || '127.0.0.1,::1').split(',').map((part) => part.trim())
  for (const address of edgeAddresses)
    if (isIP(address) === 0) problems.push(`BERTH_EDGE_ADDRESSES has "${address}", which is no IP address`)
  const tls = tlsSettings(env, { data, cwd, ports, problems })
  const dockerHost = env['DOCKER_HOST'] ?? 'unix:///var/run/docker.sock'
  if (!dockerHost.startsWith('unix:///'))
    problems.push(`DOCKER_HOST is "${dockerHost}" and must be a unix:// socket; add other engines as nodes`)
  const domain = env['BERTH_DOMAIN'] ?? 'localhost'
  if (!/^[a-z0-9]([a-z0-9.-]*[a-z0-9])?$/.test(domain))
    problems.push(`BERTH_DOMAIN is "${domain}" and must be a DNS name`)
  const networkCidr = env['BERTH_NETWORK_CIDR'] ?? '198.18.0.0/16'
  if (!/^([0-9]{1,3}\.){3}[0-9]{1,3}\/[0-9]{1,2}$/.test(networkCidr))
    problems.push(`BERTH_NETWORK_CIDR is "${networkCidr}" and must be a network such as 198.18.0.0/16`)
  if (problems.length > 0) throw new Failure(`${problems.join('; ')}.`)
  return Object.freeze({
    project,
    data,
    ports: Object.freeze(ports),
    routers,
    edgeAddresses: Object.freeze(edgeAddresses),
    tls: tls && Object.freeze(tls),
    domain,
    networkCidr,
    trustedProxies: env['BERTH_TRUSTED_PROXIES'] ?? '',
    databaseUrl: nonEmpty(env['DATABASE_URL']),
    redisUrl: nonEmpty(env['REDIS_URL']),
    routerRedisUrl: nonEmpty(env['BERTH_ROUTER_REDIS_URL']),
    dockerSocket: dockerHost.slice('unix://'.length),
    searchPath: env['PATH'] ?? '/usr/sbin:/usr/bin:/sbin:/bin',
    localNode: env['BERTH_LOCAL_NODE'] !== 'none',
    passedOn: Object.fromEntries(
      Object.entries(env).flatMap(([name, value]) =>
        name.startsWith('BERTH_') && value !== undefined ? [[name, value]] : [],
      ),
    ),
  })
}

/** The variables that give these settings again, and nothing else of the caller's environment. */
export function environmentOf(settings: Settings): Record<string, string> {
  return {
    ...settings.passedOn,
    PATH: settings.searchPath,
    BERTH_DATA: settings.data,
    BERTH_DOMAIN: settings.domain,
    ...(settings.tls ? { BERTH_TLS_FOLDER: settings.tls.folder } : {}),
    BERTH_NETWORK_CIDR: settings.networkCidr,
    DOCKER_HOST: `unix://${settings.dockerSocket}`,
    DATABASE_URL: settings.databaseUrl ?? '',
    REDIS_URL: settings.redisUrl ?? '',
  }
}

function absolute(path: string, cwd: string): string {
  return isAbsolute(path) ? path : resolve(cwd, path)
}

function tlsSettings(
  env: NodeJS.ProcessEnv,
  { data, cwd, ports, problems }: { data: string; cwd: string; ports: Ports; problems: string[] },
): { port: number; folder: string; redirects: boolean } | undefined {
  const redirects = env['BERTH_TLS_REDIRECT'] || 'off'
  if (redirects !== 'on' && redirects !== 'off')
    problems.push(`BERTH_TLS_REDIRECT is "${redirects}" and must be on or off`)
  const text = env['BERTH_TLS_PORT'] || undefined
  if (text === undefined) {
    if (redirects === 'on') problems.push('BERTH_TLS_REDIRECT needs BERTH_TLS_PORT')
    return undefined
  }
  const port = Number(text)
  if (!/^[0-9]{1,5}$/.test(text) || port < 1 || port > 65_535)
    problems.push(`BERTH_TLS_PORT is "${text}" and must be a port from 1 to 65535`)
  if (Object.values(ports).includes(port)) problems.push(`BERTH_TLS_PORT is ${port}, which has another use`)
  const folder = absolute(env['BERTH_TLS_FOLDER'] || resolve(data, 'certificates'), cwd)
  return { port, folder, redirects: redirects === 'on' }
}

function sharedPorts(ports: Ports): string[] {
  const names = Object.keys(portVariables) as PortName[]
  return names.flatMap((name, index) => {
    const twin = names.slice(0, index).find((other) => ports[other] === ports[name])
    if (twin === undefined) return []
    return [`${portVariables[name].variable} and ${portVariables[twin].variable} are both ${ports[name]}`]
  })
}

function unusableAdminPorts(ports: Ports, routers: number): string[] {
  const further = routerAdminPorts({ ports, routers }).slice(1)
  const bad = further.filter((port) => port > 65_535 || Object.values(ports).includes(port))
  return bad.map((port) => `with BERTH_ROUTERS=${routers} a router would need ${port} as its admin port`)
}

function nonEmpty(text: string | undefined): string | undefined {
  return text === '' ? undefined : text
}
