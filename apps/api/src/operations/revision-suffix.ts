import { revisionName, type ServiceSpec } from '@berth/contracts'
import { desired, type Transaction } from '@berth/db'
import { isDeepStrictEqual } from 'node:util'
import { ApiError } from '../api-error.ts'
import type { ApiContext } from '../context.ts'
import { toTemplate } from './flat-spec.ts'
import { readEnvironment } from './revision-environment.ts'

/**
 * Whether the suffix of a request asks for a deployment by itself: it names a revision that is not there, or not what
 * `latest` means. Throws `ApiError` already-exists when it names one with another template or environment; whether the
 * image is another one turns out when its tag is resolved.
 */
export async function suffixDeploys(
  context: ApiContext,
  tx: Transaction,
  service: desired.ServiceRow,
  spec: ServiceSpec,
): Promise<boolean> {
  if (spec.revisionSuffix === undefined) return false
  const name = revisionName(service.name, spec.revisionSuffix)
  const found = await desired.findServiceRevision(tx, service.uid, name)
  if (found === undefined) return true
  const same =
    isDeepStrictEqual(found.template, toTemplate(spec)) &&
    isDeepStrictEqual(await readEnvironment(context, tx, found.uid), spec.env)
  if (!same)
    throw new ApiError(
      'already-exists',
      `The revision "${name}" exists already with other content; revisions do not change, so choose another suffix.`,
    )
  const picture = await desired.findService(tx, service.projectUid, service.name)
  return picture?.status?.latestReadyRevision !== name
}
