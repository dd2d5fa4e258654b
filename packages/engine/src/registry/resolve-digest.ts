import { EngineError, isEngineError } from '../engine-error.ts'
import { formatReference, type ImageReference } from './image-reference.ts'
import { type ImageConfig, type ImageManifest, parseImageConfig, parseManifest } from './manifest.ts'
import { canonicalRegistry, type RegistryAccess } from './registry-access.ts'
import { Repository } from './repository.ts'

const maxConfigBytes = 8 * 1024 * 1024

/**
 * What a revision runs: `digest` is that of the index where the image has one, so that one revision serves nodes of
 * several architectures.
 */
export type ResolvedImage = { registry: string; repository: string; digest: string; architectures: string[] }

/** An image by digest, as it is kept with a revision. */
export type ImageByDigest = { registry: string; repository: string; digest: string }

/**
 * Asks the registry what a reference is now. Errors: `ImageNotFound`, `RegistryAuthRequired`, `RegistryRefused`,
 * `ArchitectureMismatch` (an index without Linux) are terminal; `RegistryUnreachable`, `ImageCorrupt` are not.
 */
export async function resolveDigest(
  reference: ImageReference,
  access: RegistryAccess,
  signal?: AbortSignal,
): Promise<ResolvedImage> {
  const { repository, tag = 'latest' } = reference
  const registry = canonicalRegistry(access, reference.registry)
  const asked = reference.digest
  const source = new Repository(access, registry, repository, signal)
  const digest = asked ?? (await digestOf(source, tag, access, { ...reference, registry }))
  const manifest = parseManifest((await source.manifest(digest)).bytes)
  const architectures =
    manifest.kind === 'index'
      ? [...new Set(manifest.manifests.map((each) => each.architecture))]
      : [parseImageConfig(await source.blob(manifest.config.digest, maxConfigBytes)).architecture]
  if (architectures.length === 0)
    throw new EngineError('ArchitectureMismatch', 'the image has no part for Linux')
  return { registry, repository, digest, architectures }
}

/** Whoever built an image and forgot to push it to the platform's registry is told the command. */
async function digestOf(
  source: Repository,
  tag: string,
  access: RegistryAccess,
  reference: ImageReference,
): Promise<string> {
  try {
    return await source.digestOf(tag)
  } catch (error) {
    if (!isEngineError(error, 'ImageNotFound') || reference.registry !== access.platformRegistry) throw error
    const command = `docker push ${formatReference(reference)}`
    throw new EngineError('ImageNotFound', `${error.message}; push it first: ${command}`)
  }
}

/** The configuration of the part of an image that is for `architecture`, and the bytes of its layers together. */
export async function readImageConfig(
  image: ImageByDigest,
  architecture: string,
  access: RegistryAccess,
  signal?: AbortSignal,
): Promise<ImageConfig & { sizeBytes: number }> {
  const source = new Repository(access, image.registry, image.repository, signal)
  const { manifest, config } = await readImagePart(source, image.digest, architecture)
  const sizeBytes = manifest.layers.reduce((sum, layer) => sum + layer.size, 0)
  return { ...parseImageConfig(config), sizeBytes }
}

/** Follows an index to the manifest for one architecture. */
export async function readImagePart(
  source: Repository,
  digest: string,
  architecture: string,
): Promise<{ manifest: ImageManifest; config: Buffer }> {
  const top = parseManifest((await source.manifest(digest)).bytes)
  const manifest = top.kind === 'image' ? top : await readPartOf(source, top.manifests, architecture)
  const config = await source.blob(manifest.config.digest, maxConfigBytes)
  const built = parseImageConfig(config).architecture
  if (built !== architecture) throw mismatch([built], architecture)
  return { manifest, config }
}

async function readPartOf(
  source: Repository,
  parts: readonly { digest: string; architecture: string }[],
  architecture: string,
): Promise<ImageManifest> {
  const part = parts.find((each) => each.architecture === architecture)
  if (part === undefined)
    throw mismatch(
      parts.map((each) => each.architecture),
      architecture,
    )
  const manifest = parseManifest((await source.manifest(part.digest)).bytes)
  if (manifest.kind === 'index')
    throw new EngineError('ImageCorrupt', 'the index of the image leads to another one')
  return manifest
}

function mismatch(built: readonly string[], wanted: string): EngineError {
  return new EngineError(
    'ArchitectureMismatch',
    `the image is built for ${built.join(', ')}, the node is ${wanted}`,
  )
}
