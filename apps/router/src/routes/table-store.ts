import { mkdir, open, readFile, rename, stat } from 'node:fs/promises'
import { dirname } from 'node:path'
import { routeSnapshot, type RouteSnapshot } from '@berth/contracts'
import type { Logger } from 'pino'

/** A table from the file, and how long ago it was written. */
type KeptTable = { snapshot: RouteSnapshot; ageMs: number }

export type TableStore = {
  /** The last table that was kept, undefined when there is none that can be read. */
  load(): Promise<KeptTable | undefined>
  /** Keeps the newest table; tables that come while one is being written are skipped but for the last. */
  keep(read: () => RouteSnapshot): void
  /** Resolves when everything given to `keep` so far is on disk, or could not be written. */
  settled(): Promise<void>
}

/**
 * Keeps the route table in a file, written beside it and renamed over it, so that a router which is killed while
 * writing finds the table before. A disk that fails costs the cache, never a request.
 */
export function createTableStore(path: string, log: Logger): TableStore {
  let next: (() => RouteSnapshot) | undefined
  let writing: Promise<void> | undefined

  async function write(): Promise<void> {
    await mkdir(dirname(path), { recursive: true })
    while (next) {
      const text = JSON.stringify(next())
      next = undefined
      const beside = `${path}.${process.pid}`
      const file = await open(beside, 'w', 0o600)
      try {
        await file.writeFile(text)
        await file.sync()
      } finally {
        await file.close()
      }
      await rename(beside, path)
    }
  }

  return {
    async load() {
      try {
        const snapshot = routeSnapshot.parse(JSON.parse(await readFile(path, 'utf8')))
        return { snapshot, ageMs: Date.now() - (await stat(path)).mtimeMs }
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code !== 'ENOENT')
          log.warn({ err: error }, 'kept route table was not readable')
        return undefined
      }
    },
    keep(read) {
      next = read
      writing ??= write()
        .catch((error: unknown) => log.warn({ err: error }, 'route table was not kept'))
        .finally(() => {
          writing = undefined
        })
    },
    async settled() {
      while (writing) await writing
    },
  }
}
