import { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { type Pack, pack } from 'tar-stream'
import { localImageName } from '../local-image-name.ts'
import type { RegistryAccess } from './registry-access.ts'
import { Repository } from './repository.ts'
import { type ImageByDigest, readImagePart } from './resolve-digest.ts'

/**
 * The part of an image for one architecture as `docker load` takes it, straight from the registry's blobs, for a
 * node that cannot reach the registry. Layers stay compressed: the engine inflates them, and checks them against
 * the configuration; here every blob is checked against its digest before the tar is complete. The image is named
 * `localImageName(repository, digest)`. The stream fails with an `EngineError`.
 */
export function streamImageTar(
  image: ImageByDigest,
  architecture: string,
  access: RegistryAccess,
  signal?: AbortSignal,
): Readable {
  const tar = pack()
  write(tar, image, architecture, access, signal).catch((error: unknown) => {
    tar.destroy(error as Error)
  })
  // tar-stream's own streams are not Node's: what reads them relies on Node's.
  return Readable.from(tar as AsyncIterable<Buffer>, { objectMode: false })
}

async function write(
  tar: Pack,
  image: ImageByDigest,
  architecture: string,
  access: RegistryAccess,
  signal: AbortSignal | undefined,
): Promise<void> {
  const source = new Repository(access, image.registry, image.repository, signal)
  const { manifest, config } = await readImagePart(source, image.digest, architecture)
  const configName = `${hex(manifest.config.digest)}.json`
  tar.entry({ name: configName }, config)
  const written = new Set<string>()
  for (const layer of manifest.layers) {
    if (written.has(layer.digest)) continue
    written.add(layer.digest)
    const entry = tar.entry({ name: layerName(layer.digest), size: layer.size })
    await pipeline(source.blobStream(layer.digest, layer.size), entry)
  }
  const index = [
    {
      Config: configName,
      RepoTags: [localImageName(image.repository, image.digest)],
      Layers: manifest.layers.map((layer) => layerName(layer.digest)),
    },
  ]
  tar.entry({ name: 'manifest.json' }, JSON.stringify(index))
  tar.finalize()
}

function layerName(digest: string): string {
  return `${hex(digest)}/layer.tar`
}

function hex(digest: string): string {
  return digest.slice('sha256:'.length)
}
