import type { Environment, RevisionUid } from '@berth/contracts'
import { readRevisionEnvironment, type Executor } from '@berth/db'
import type { ApiContext } from '../context.ts'
import { decodeEnvironment } from './flat-spec.ts'

/** The variables of a revision, opened; null when it is gone. */
export async function readEnvironment(
  { keyring }: ApiContext,
  db: Executor,
  revision: string,
): Promise<Environment | null> {
  const sealed = await readRevisionEnvironment(db, revision as RevisionUid)
  if (sealed === null) return null
  return sealed.length === 0 ? {} : decodeEnvironment(keyring.openText(sealed, `revision:${revision}:env`))
}
