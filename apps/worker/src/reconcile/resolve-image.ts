import type { Reason, RevisionTemplate } from '@berth/contracts'
import {
  EngineError,
  InvalidReferenceError,
  parseReference,
  resolveDigest,
  type RegistryAccess,
} from '@berth/engine'

export type ImageAnswer =
  | { kind: 'resolved'; repository: string; digest: string; architectures: string[] }
  | { kind: 'failed'; reason: Reason; message: string }

const resolveDeadlineMs = 10_000

/** Asks the registry what the template's image is now. Never throws: what went wrong is named for the user. */
export async function resolveImage(template: RevisionTemplate, access: RegistryAccess): Promise<ImageAnswer> {
  const text = template.containers[0]?.image ?? ''
  try {
    const reference = parseReference(text)
    const signal = AbortSignal.timeout(resolveDeadlineMs)
    const { registry, repository, digest, architectures } = await resolveDigest(reference, access, signal)
    return { kind: 'resolved', repository: `${registry}/${repository}`, digest, architectures }
  } catch (error) {
    return { kind: 'failed', ...explain(error, text, access) }
  }
}

function explain(error: unknown, image: string, access: RegistryAccess): { reason: Reason; message: string } {
  if (error instanceof InvalidReferenceError) return { reason: 'ImageNotFound', message: error.message }
  if (!(error instanceof EngineError))
    return { reason: 'RegistryUnreachable', message: `the registry of ${image} could not be asked` }
  if (error.code === 'Aborted' || error.code === 'EngineTimeout')
    return {
      reason: 'RegistryUnreachable',
      message: `the registry of ${image} does not answer within ${resolveDeadlineMs / 1000} s`,
    }
  const ours = access.platformRegistry !== undefined && image.startsWith(`${access.platformRegistry}/`)
  if (error.code === 'ImageNotFound' && ours)
    return {
      reason: 'ImageNotFound',
      message: `${image} is not in the registry; push it first: docker push ${image}`,
    }
  return { reason: error.reason, message: `${image}: ${error.message}` }
}
