import { hostname } from 'node:os'
import type { BlockList } from 'node:net'
import type { EdgePlace } from './edge-server.ts'
import { parseTrustedProxies } from './exchange/asker.ts'
import { limitsFrom, type EdgeLimits } from './limits.ts'
import { upstreamClients, type UpstreamClient } from './upstream/upstream-client.ts'

const defaultEdgePort = 8080
const defaultAdminPort = 8082
const defaultDrainSeconds = 600
const logLevels = ['trace', 'debug', 'info', 'warn', 'error', 'fatal', 'silent']

export type RouterConfig = Readonly<{
  installation: string
  /** Name of this machine's router in logs; what tells two processes apart is the incarnation. */
  name: string
  hubSocket: string | undefined
  redisUrl: string | undefined
  tableFile: string
  edge: readonly EdgePlace[]
  admin: EdgePlace
  /** The port that is told to the leader, whoever has bound it. */
  adminPort: number
  trustedProxies: BlockList
  tls: TlsConfig | undefined
  /** What speaks HTTP to replicas. */
  upstreamClient: UpstreamClient
  /** Which part of the requests gets an access line, 0 to 1. */
  accessLogSample: number
  drainMs: number
  limits: EdgeLimits
  logLevel: string
}>

/** `redirectTo`: the port that clients without TLS are sent to. */
type TlsConfig = Readonly<{
  places: readonly EdgePlace[]
  folder: string
  redirectTo: number | undefined
}>

/** Reads the environment. Throws one error that names everything that is wrong, each with its value. */
export function parseConfig(env: NodeJS.ProcessEnv): RouterConfig {
  const problems: string[] = []

  function whole(name: string, fallback: number, least: number, most: number): number {
    const text = env[name]
    if (text === undefined || text === '') return fallback
    const value = Number(text)
    if (/^[0-9]{1,9}$/.test(text) && value >= least && value <= most) return value
    problems.push(`${name} is "${text}" and must be a whole number from ${least} to ${most}`)
    return fallback
  }

  function share(name: string): number {
    const text = env[name] || '1'
    if (/^(0|1|[01]?\.[0-9]{1,9})$/.test(text) && Number(text) <= 1) return Number(text)
    problems.push(`${name} is "${text}" and must be a number from 0 to 1`)
    return 1
  }

  function descriptors(name: string): number[] {
    const text = env[name] ?? ''
    if (text === '') return []
    const numbers = text.split(',').map(Number)
    if (numbers.every((fd) => Number.isInteger(fd) && fd > 2)) return numbers
    problems.push(`${name} is "${text}" and must be descriptors above 2 such as "3,4"`)
    return []
  }

  const installation = env['BERTH_INSTALLATION'] ?? ''
  if (!/^[A-Za-z0-9-]{1,64}$/.test(installation))
    problems.push(`BERTH_INSTALLATION is "${installation}" and must be the installation's id`)
  const edgePort = whole('BERTH_EDGE_PORT', defaultEdgePort, 0, 65_535)
  const adminPort = whole('BERTH_ROUTER_ADMIN_PORT', defaultAdminPort, 0, 65_535)
  const edgeFds = descriptors('BERTH_EDGE_FDS')
  const [adminFd] = descriptors('BERTH_ADMIN_FD')
  const tlsFds = descriptors('BERTH_TLS_FDS')
  const tlsPort = env['BERTH_TLS_PORT'] ? whole('BERTH_TLS_PORT', 0, 0, 65_535) : undefined
  const tlsFolder = env['BERTH_TLS_FOLDER'] ?? ''
  const redirects = env['BERTH_TLS_REDIRECT'] || 'off'
  if (redirects !== 'on' && redirects !== 'off')
    problems.push(`BERTH_TLS_REDIRECT is "${redirects}" and must be on or off`)
  if (tlsPort !== undefined && tlsFolder === '')
    problems.push('BERTH_TLS_PORT needs BERTH_TLS_FOLDER, the folder of the certificates')
  const drainSeconds = whole('BERTH_ROUTER_DRAIN_SECONDS', defaultDrainSeconds, 0, 86_400)
  const limits = limitsFrom(({ variable, standard, least, most }) => whole(variable, standard, least, most))
  const accessLogSample = share('BERTH_ROUTER_ACCESS_LOG_SAMPLE')
  const logLevel = env['BERTH_LOG_LEVEL'] ?? 'info'
  if (!logLevels.includes(logLevel))
    problems.push(`BERTH_LOG_LEVEL is "${logLevel}" and must be one of ${logLevels.join(', ')}`)
  const upstreamClient = upstreamClients.find((name) => name === (env['BERTH_ROUTER_CLIENT'] || 'own'))
  if (!upstreamClient)
    problems.push(
      `BERTH_ROUTER_CLIENT is "${env['BERTH_ROUTER_CLIENT']}" and must be one of ${upstreamClients.join(', ')}`,
    )
  let trustedProxies = parseTrustedProxies('')
  try {
    trustedProxies = parseTrustedProxies(env['BERTH_TRUSTED_PROXIES'] ?? '')
  } catch (error) {
    problems.push(`BERTH_TRUSTED_PROXIES: ${error instanceof Error ? error.message : String(error)}`)
  }
  if (problems.length > 0) throw new Error(`${problems.join('; ')}.`)

  return Object.freeze({
    installation,
    name: env['BERTH_ROUTER_NAME'] || hostname(),
    hubSocket: env['BERTH_HUB_SOCKET'] || undefined,
    redisUrl: env['BERTH_ROUTER_REDIS_URL'] || undefined,
    tableFile: env['BERTH_ROUTE_TABLE_FILE'] || `${env['BERTH_DATA'] || '.berth'}/router/routes.json`,
    edge: edgeFds.length > 0 ? edgeFds.map((fd) => ({ fd })) : onLoopback(edgePort),
    admin: adminFd === undefined ? { host: '127.0.0.1', port: adminPort } : { fd: adminFd },
    adminPort,
    trustedProxies,
    tls:
      tlsPort === undefined
        ? undefined
        : {
            places: tlsFds.length > 0 ? tlsFds.map((fd) => ({ fd })) : onLoopback(tlsPort),
            folder: tlsFolder,
            redirectTo: redirects === 'on' ? tlsPort : undefined,
          },
    upstreamClient: upstreamClient ?? 'own',
    accessLogSample,
    drainMs: drainSeconds * 1000,
    limits,
    logLevel,
  })
}

function onLoopback(port: number): EdgePlace[] {
  return [
    { host: '127.0.0.1', port },
    { host: '::1', port },
  ]
}
