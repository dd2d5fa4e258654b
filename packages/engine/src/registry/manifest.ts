import { z } from 'zod'
import { EngineError } from '../engine-error.ts'

const digest = z.string().regex(/^sha256:[a-f0-9]{64}$/)
const descriptor = z.object({
  mediaType: z.string().optional(),
  digest,
  size: z.int().min(0),
  urls: z.array(z.string()).optional(),
})

const imageManifest = z.object({
  schemaVersion: z.literal(2),
  config: descriptor,
  layers: z.array(descriptor).max(500),
})
const imageIndex = z.object({
  schemaVersion: z.literal(2),
  manifests: z
    .array(
      descriptor.extend({
        platform: z
          .object({ architecture: z.string(), os: z.string(), variant: z.string().optional() })
          .optional(),
      }),
    )
    .max(500),
})

type Descriptor = z.infer<typeof descriptor>
export type ImageManifest = { kind: 'image'; config: Descriptor; layers: Descriptor[] }
export type ImageIndex = { kind: 'index'; manifests: { digest: string; architecture: string }[] }

/** Reads a manifest or an index of OCI or Docker's schema 2. Entries for other systems than Linux are left out. */
export function parseManifest(bytes: Buffer): ImageManifest | ImageIndex {
  const value = parseJson(bytes)
  const index = imageIndex.safeParse(value)
  if (index.success) {
    const manifests = index.data.manifests.flatMap(({ digest, platform }) =>
      platform?.os === 'linux' ? [{ digest, architecture: platform.architecture }] : [],
    )
    return { kind: 'index', manifests }
  }
  const image = imageManifest.safeParse(value)
  if (!image.success) throw new EngineError('ImageCorrupt', 'the manifest is not one of an image')
  if (image.data.layers.some((layer) => layer.urls !== undefined && layer.urls.length > 0))
    throw new EngineError('ImageCorrupt', 'the image has layers that are kept outside of its registry')
  return { kind: 'image', config: image.data.config, layers: image.data.layers }
}

const imageConfig = z.object({
  architecture: z.string(),
  os: z.string(),
  config: z
    .object({
      User: z.string().nullish(),
      ExposedPorts: z.record(z.string(), z.unknown()).nullish(),
    })
    .nullish(),
})

/** What the image says about itself. `user` is empty for root. */
export type ImageConfig = { architecture: string; os: string; user: string; exposedPorts: number[] }

export function parseImageConfig(bytes: Buffer): ImageConfig {
  const read = imageConfig.safeParse(parseJson(bytes))
  if (!read.success) throw new EngineError('ImageCorrupt', "the image's configuration is not one")
  const { architecture, os, config } = read.data
  const ports = Object.keys(config?.ExposedPorts ?? {}).filter((port) => /^\d+(?:\/tcp)?$/.test(port))
  return {
    architecture,
    os,
    user: config?.User ?? '',
    exposedPorts: ports.map((port) => Number.parseInt(port, 10)),
  }
}

function parseJson(bytes: Buffer): unknown {
  try {
    return JSON.parse(bytes.toString('utf8'))
  } catch {
    throw new EngineError('ImageCorrupt', 'the registry answers with something that is not JSON')
  }
}
