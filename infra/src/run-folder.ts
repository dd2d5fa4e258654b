import { createHash } from 'node:crypto'
import { accessSync, constants } from 'node:fs'
import { chmod, chown, lstat, mkdir } from 'node:fs/promises'
import { join } from 'node:path'
import { Failure } from './failure.ts'
import { type Account, findAccount, isRoot, routerAccount } from './machine/accounts.ts'

/** Where the sockets and process records of a running Berth are. Nothing in here outlives a reboot. */
export type RunFolder = Readonly<{
  path: string
  supervisorSocket: string
  /** Who the supervisor and its children are, for the next one that has to clear up. */
  processFile: string
  /** The settings of the supervisor that runs, for commands that were called with others. */
  settingsFile: string
  postgres: string
  redis: string
  redisSocket: string
  /** The worker listens here for routers. */
  hubSocket: string
  /** The worker listens here for the API. */
  controlSocket: string
  /** The router keeps its last table here. */
  routeTable: string
  /** Copies of the certificates, for the routers. */
  certificates: string
  registryConfig: string
  /** Mount points for processes that cannot reach the project or the data by their real paths. */
  shelter: string
}>

/** Unix socket paths end at 107 bytes; this is the longest that is made below the run folder. */
const longestSocket = '/postgres/.s.PGSQL.5432'
const maxSocketPath = 107

/**
 * Where sockets go: inside the data folder where the paths are short enough, else a folder named after a hash
 * of it. Started by root it is always below /run, because the data may lie where other users cannot look.
 */
export function runFolderPath(data: string, root: boolean, uid: number): string {
  const hash = createHash('sha256').update(data).digest('hex').slice(0, 12)
  if (root) return `/run/berth-${hash}`
  const inside = join(data, 'run')
  if (Buffer.byteLength(inside + longestSocket) <= maxSocketPath) return inside
  return `/tmp/berth-${uid}-${hash}`
}

/** The names below `path`, without touching the disk. */
export function runFolderAt(path: string): RunFolder {
  return {
    path,
    supervisorSocket: join(path, 'control', 'supervisor.sock'),
    processFile: join(path, 'control', 'processes.json'),
    settingsFile: join(path, 'control', 'settings.json'),
    postgres: join(path, 'postgres'),
    redis: join(path, 'redis'),
    redisSocket: join(path, 'redis', 's'),
    hubSocket: join(path, 'hub', 's'),
    controlSocket: join(path, 'control', 'worker.sock'),
    routeTable: join(path, 'router', 'routes.json'),
    certificates: join(path, 'router', 'certificates'),
    registryConfig: join(path, 'registry.yml'),
    shelter: join(path, 'shelter'),
  }
}

/** The run folder of `data` for whoever runs this; it may not exist yet. */
export function runFolderOf(data: string): RunFolder {
  return runFolderAt(runFolderPath(data, runsBelowRun(), process.getuid?.() ?? 0))
}

function runsBelowRun(): boolean {
  if (!isRoot()) return false
  try {
    accessSync('/run', constants.W_OK)
    return true
  } catch {
    return false
  }
}

/** Makes the run folder and its parts, each with the one owner that needs it. */
export async function openRunFolder(data: string): Promise<RunFolder> {
  const run = runFolderOf(data)
  await own(run.path, 0o711)
  await own(join(run.path, 'control'), 0o700)
  const root = isRoot()
  // Postgres trusts whoever reaches its socket: its own user and root.
  await own(run.postgres, 0o700, root ? findAccount('postgres') : undefined)
  await own(run.redis, 0o755, root ? findAccount('redis') : undefined)
  await own(join(run.path, 'router'), 0o700, root ? routerAccount : undefined)
  // The set-group-id bit hands the router's group on to the socket that the worker makes here.
  await own(
    join(run.path, 'hub'),
    root ? 0o2750 : 0o700,
    root ? { uid: 0, gid: routerAccount.gid } : undefined,
  )
  return run
}

async function own(path: string, mode: number, account?: Account): Promise<void> {
  await mkdir(path, { recursive: true, mode })
  const found = await lstat(path)
  const uid = process.getuid?.() ?? 0
  if (!found.isDirectory() || (found.uid !== uid && found.uid !== account?.uid))
    throw new Failure(`${path} is not a folder of the user who runs ./berth; remove it and try again.`)
  if (account !== undefined) await chown(path, account.uid, account.gid)
  await chmod(path, mode)
}
