import { randomBytes } from 'node:crypto'
import { existsSync } from 'node:fs'
import { chmod, lstat, mkdir, open, readFile, rename } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { codeOf, Failure } from './failure.ts'
import { accountName, isRoot } from './machine/accounts.ts'

/** What `$BERTH_DATA` holds from the first start on. */
export type DataFolder = Readonly<{
  path: string
  /** 8 lower-case hexadecimal characters: marks every container that this Berth owns. */
  installation: string
  masterKeyFile: string
  adminTokenFile: string
  adminToken: string
  logs: string
  /** Passwords of the private Redis, made once. */
  redisPasswords: Readonly<{ worker: string; router: string }>
}>

/**
 * Opens `path`, making what is missing. Throws a Failure when it belongs to another user, or when a file that
 * only a backup can bring back is damaged or gone.
 */
export async function openDataFolder(path: string): Promise<DataFolder> {
  await claimFolder(path)
  const logs = join(path, 'logs')
  await mkdir(logs, { recursive: true, mode: 0o700 })
  const installation = await keep(join(path, 'installation-id'), () => randomBytes(4).toString('hex'))
  if (!/^[0-9a-f]{8}$/.test(installation))
    throw new Failure(
      `${join(path, 'installation-id')} is damaged; put the id that the containers carry back.`,
    )
  const masterKeyFile = join(path, 'master.key')
  await checkMasterKey(masterKeyFile, join(path, 'postgres'))
  const adminTokenFile = join(path, 'admin-token')
  const adminToken = await keep(adminTokenFile, () => `berth_${randomBytes(32).toString('base64url')}`)
  const worker = await keep(join(path, 'redis-password'), newPassword)
  const router = await keep(join(path, 'redis-router-password'), newPassword)
  const redisPasswords = { worker, router }
  return { path, installation, masterKeyFile, adminTokenFile, adminToken, logs, redisPasswords }
}

/** The folder itself: ours, and for root traversable so that Postgres can reach its own part. */
async function claimFolder(path: string): Promise<void> {
  try {
    await mkdir(path, { recursive: true, mode: 0o711 })
    await checkOwner(path)
    await chmod(path, isRoot() ? 0o711 : 0o700)
  } catch (error) {
    if (codeOf(error) === 'EEXIST' || codeOf(error) === 'ENOTDIR')
      throw new Failure(`${path} is not a folder; set BERTH_DATA to another place.`, { cause: error })
    if (codeOf(error) === 'EACCES' || codeOf(error) === 'EROFS')
      throw new Failure(`${path} cannot be written; set BERTH_DATA to a folder that is yours.`, {
        cause: error,
      })
    throw error
  }
}

/**
 * Throws a Failure when `path` belongs to another user, whose sockets are elsewhere and not for us. Fine when there
 * is no such folder.
 */
export async function checkOwner(path: string): Promise<void> {
  const found = await lstat(path).catch((error: unknown) => {
    if (codeOf(error) === 'ENOENT') return undefined
    throw error
  })
  if (found === undefined || found.uid === (process.getuid?.() ?? 0)) return
  const owner = accountName(found.uid)
  throw new Failure(
    `${path} belongs to ${owner}; run ./berth as ${owner}, or set BERTH_DATA to another folder.`,
  )
}

async function checkMasterKey(file: string, database: string): Promise<void> {
  if (!existsSync(file) && existsSync(database))
    throw new Failure(
      `${file} is missing and the secrets in the database cannot be read without it; restore it from a backup.`,
    )
  const text = await keep(file, () => randomBytes(32).toString('base64'))
  if (!/^[A-Za-z0-9+/]{43}=$/.test(text))
    throw new Failure(`${file} is damaged (it must hold 32 bytes in base64); restore it from a backup.`)
}

function newPassword(): string {
  return randomBytes(24).toString('hex')
}

/** The trimmed content of a private file; made whole (written beside, synced, renamed) when it is not there. */
async function keep(file: string, make: () => string): Promise<string> {
  try {
    return (await readFile(file, 'utf8')).trim()
  } catch (error) {
    if (codeOf(error) === 'EACCES')
      throw new Failure(`${file} cannot be read; give it back to the user who runs ./berth.`, {
        cause: error,
      })
    if (codeOf(error) !== 'ENOENT') throw error
  }
  const text = make()
  const draft = `${file}.new`
  const handle = await open(draft, 'w', 0o600)
  await handle.writeFile(`${text}\n`)
  await handle.sync()
  await handle.close()
  await rename(draft, file)
  const folder = await open(dirname(file))
  await folder.sync()
  await folder.close()
  return text
}
