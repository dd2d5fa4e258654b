import { readdirSync, readFileSync } from 'node:fs'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { identify, isAlive, type ProcessIdentity } from '../../infra/src/machine/process-identity.ts'

const prefix = 'berth-own-'
const ownerFile = 'owner.json'

/**
 * A new temporary folder that knows who made it. Folders whose maker is gone (a killed test run) are removed
 * on the way, so that they do not pile up.
 */
export async function makeOwnedFolder(): Promise<string> {
  await removeDeadFolders()
  const folder = await mkdtemp(join(tmpdir(), prefix))
  await writeFile(join(folder, ownerFile), JSON.stringify(identify(process.pid)))
  return folder
}

/** Removes the folders of makers that are gone; one without a maker is being made right now and stays. */
async function removeDeadFolders(): Promise<void> {
  for (const name of readdirSync(tmpdir())) {
    if (!name.startsWith(prefix)) continue
    const folder = join(tmpdir(), name)
    const owner = readOwner(join(folder, ownerFile))
    if (owner !== undefined && !isAlive(owner)) await rm(folder, { recursive: true, force: true })
  }
}

function readOwner(file: string): ProcessIdentity | undefined {
  try {
    return JSON.parse(readFileSync(file, 'utf8')) as ProcessIdentity
  } catch {
    return undefined
  }
}
