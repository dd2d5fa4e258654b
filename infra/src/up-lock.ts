import { readFileSync } from 'node:fs'
import { link, rename, rm, writeFile } from 'node:fs/promises'
import { codeOf, Failure } from './failure.ts'
import { identify, isAlive, type ProcessIdentity } from './machine/process-identity.ts'

/**
 * Keeps two `up` or `down` of one data folder apart. A lock whose holder is gone (killed) is taken over.
 * Returns the function that lets go; throws a Failure that names the holder.
 */
export async function takeUpLock(file: string): Promise<() => Promise<void>> {
  const self = identify(process.pid)
  if (self === undefined) throw new Failure('/proc cannot be read; Berth needs Linux with /proc.')
  const draft = `${file}.${self.pid}`
  await writeFile(draft, JSON.stringify(self), { mode: 0o600 })
  for (;;) {
    try {
      // Linked, not opened: whoever finds the lock finds it with its holder written in.
      await link(draft, file)
      await rm(draft)
      return () => rm(file, { force: true })
    } catch (error) {
      if (codeOf(error) !== 'EEXIST') throw error
    }
    const holder = readHolder(file)
    if (holder !== undefined && isAlive(holder)) {
      await rm(draft, { force: true })
      throw new Failure(`Another ./berth command (pid ${holder.pid}) is at work here; wait for it to end.`)
    }
    // Renaming first: of two that both saw a dead holder only one gets the file away.
    const grave = `${file}.${self.pid}.dead`
    await rename(file, grave).catch(() => undefined)
    await rm(grave, { force: true })
  }
}

function readHolder(file: string): ProcessIdentity | undefined {
  try {
    const parsed: unknown = JSON.parse(readFileSync(file, 'utf8'))
    if (typeof parsed !== 'object' || parsed === null) return undefined
    const { pid, startTime } = parsed as Partial<ProcessIdentity>
    return typeof pid === 'number' && typeof startTime === 'string' ? { pid, startTime } : undefined
  } catch {
    return undefined
  }
}
