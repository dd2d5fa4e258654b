import { isLoopback } from './http/host-check.ts'

export type ApiConfig = Readonly<{
  port: number
  address: string
  databaseUrl: string
  redisUrl: string
  masterKeyFile: string
  adminTokenFile: string
  installation: string
  domain: string
  edgePort: number
  tlsPort: number | undefined
  controlSocket: string
  logLevel: string
}>

/** Reads the settings of the process. Throws one Error that names every problem; secrets are not echoed. */
export function parseConfig(env: Readonly<Record<string, string | undefined>>): ApiConfig {
  const problems: string[] = []
  const text = (name: string, fallback?: string) => {
    const value = env[name] || fallback
    if (value === undefined) problems.push(`${name} is missing`)
    return value ?? ''
  }
  const port = (name: string, fallback: number) => {
    const value = Number(env[name] || fallback)
    if (!Number.isInteger(value) || value < 0 || value > 65_535)
      problems.push(`${name} is "${env[name]}", not a port`)
    return value
  }
  const address = text('BERTH_API_ADDRESS', '127.0.0.1')
  if (!isLoopback(address))
    problems.push(`BERTH_API_ADDRESS is "${address}": without TLS the API listens on loopback only`)
  const config: ApiConfig = Object.freeze({
    port: port('BERTH_API_PORT', 8081),
    address,
    databaseUrl: text('DATABASE_URL'),
    redisUrl: text('REDIS_URL'),
    masterKeyFile: text('BERTH_MASTER_KEY_FILE'),
    adminTokenFile: text('BERTH_ADMIN_TOKEN_FILE'),
    installation: text('BERTH_INSTALLATION'),
    domain: text('BERTH_DOMAIN', 'localhost'),
    edgePort: port('BERTH_EDGE_PORT', 8080),
    tlsPort: env['BERTH_TLS_PORT'] ? port('BERTH_TLS_PORT', 443) : undefined,
    controlSocket: text('BERTH_CONTROL_SOCKET'),
    logLevel: text('BERTH_LOG_LEVEL', 'info'),
  })
  if (problems.length > 0) throw new Error(`The API cannot start: ${problems.join('; ')}.`)
  return config
}
