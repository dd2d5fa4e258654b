import { defaultProject } from '@berth/contracts'
import { desired, type Database } from '@berth/db'
import { tokenHash } from './token-secret.ts'

/**
 * Makes the token in the operator's file a platform token unless it is one already. A file that changed makes a
 * further token; the one before stays until it is revoked.
 */
export async function ensureFirstToken(db: Database, secret: string): Promise<void> {
  const project = await desired.findProject(db, defaultProject)
  if (project === undefined)
    throw new Error(`the project "${defaultProject}" is missing: migrate the database`)
  await desired.ensureToken(db, {
    name: 'first',
    scope: 'platform',
    projectUid: project.uid,
    hash: tokenHash(secret),
    expiresAt: null,
  })
}
