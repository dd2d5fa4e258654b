import type { Environment, RevisionUid } from '@berth/contracts'
import { readRevisionEnvironment, type Database, type Keyring } from '@berth/db'

/** The variables of revisions, read when they are needed and kept sealed, so that a restart needs no database. */
export type Environments = {
  /** Null when the revision is gone. Throws errors of the store while it was never read. */
  of(revision: RevisionUid): Promise<Environment | null>
  forget(isKnown: (revision: RevisionUid) => boolean): void
}

export function createEnvironments(db: Database, keyring: Keyring): Environments {
  const sealed = new Map<RevisionUid, Buffer>()
  return {
    async of(revision) {
      const env = sealed.get(revision) ?? (await readRevisionEnvironment(db, revision))
      if (env === null) return null
      sealed.set(revision, env)
      if (env.length === 0) return {}
      return JSON.parse(keyring.openText(env, `revision:${revision}:env`)) as Environment
    },
    forget(isKnown) {
      for (const revision of sealed.keys()) if (!isKnown(revision)) sealed.delete(revision)
    },
  }
}
