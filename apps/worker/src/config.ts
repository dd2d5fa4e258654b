export type WorkerConfig = Readonly<{
  databaseUrl: string
  redisUrl: string
  installation: string
  masterKeyFile: string
  adminPort: number
  registryPort: number
  networkCidr: string
  hubSocket: string
  controlSocket: string
  /** Path of a static busybox: the program of the sandbox image. */
  busybox: string
  domain: string
  /** Registry hosts that may be asked although their addresses are private. */
  allowedRegistries: readonly string[]
  logLevel: string
}>

/** Every problem of the environment at once, each with the value that is wrong. */
export class ConfigError extends Error {
  constructor(problems: readonly string[]) {
    super(`the worker cannot start: ${problems.join('; ')}`)
    this.name = 'ConfigError'
  }
}

type Environment = Readonly<Record<string, string | undefined>>

/** Reads and checks the worker's environment. Throws `ConfigError`. */
export function readConfig(env: Environment): WorkerConfig {
  const problems: string[] = []
  const text = (name: string, fallback?: string): string => {
    const value = env[name] || fallback
    if (value === undefined) problems.push(`${name} is not set`)
    return value ?? ''
  }
  const port = (name: string): number => {
    const value = text(name)
    const number = Number(value)
    if (value !== '' && !(Number.isInteger(number) && number >= 0 && number <= 65_535))
      problems.push(`${name} must be a port, not "${value}"`)
    return number
  }
  const installation = text('BERTH_INSTALLATION')
  if (installation !== '' && !/^[a-z0-9]{1,16}$/.test(installation))
    problems.push(`BERTH_INSTALLATION must be 1 to 16 letters and digits, not "${installation}"`)
  const config = {
    databaseUrl: text('DATABASE_URL'),
    redisUrl: text('REDIS_URL'),
    installation,
    masterKeyFile: text('BERTH_MASTER_KEY_FILE'),
    adminPort: port('BERTH_WORKER_ADMIN_PORT'),
    registryPort: port('BERTH_REGISTRY_PORT'),
    networkCidr: text('BERTH_NETWORK_CIDR', '198.18.0.0/16'),
    hubSocket: text('BERTH_HUB_SOCKET'),
    controlSocket: text('BERTH_CONTROL_SOCKET'),
    busybox: text('BERTH_BUSYBOX', '/bin/busybox'),
    domain: text('BERTH_DOMAIN', 'localhost'),
    allowedRegistries: text('BERTH_ALLOWED_REGISTRIES', ' ')
      .split(',')
      .map((host) => host.trim().toLowerCase())
      .filter((host) => host !== ''),
    logLevel: text('BERTH_LOG_LEVEL', 'info'),
  }
  if (problems.length > 0) throw new ConfigError(problems)
  return Object.freeze(config)
}
