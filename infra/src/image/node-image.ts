import { createHash } from 'node:crypto'
import { mkdir, readdir, readFile, realpath, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { Failure } from '../failure.ts'
import { type LayerEntry, type LayerFile, parentFolders, writeLayer } from './layer.ts'
import { imageArchitecture, mainOf, nodeBaseLayer } from './node-base.ts'

/** An image that is ready to be pushed or written to an archive. */
export type BuiltImage = { config: Buffer; manifest: Buffer; digest: string; layers: LayerFile[] }

export type NodeImageOptions = {
  /** Everything in here becomes /app, except node_modules, tests and what git would ignore. */
  folder: string
  nodeBinary: string
  /** Layers are kept here, named by what is in them. */
  cache: string
  /** Said in the image's configuration; tests make images for the wrong processor with it. */
  architecture?: string
  port?: number
  labels?: Record<string, string>
}

export const manifestType = 'application/vnd.oci.image.manifest.v1+json'
const configType = 'application/vnd.oci.image.config.v1+json'
const layerType = 'application/vnd.oci.image.layer.v1.tar+gzip'

/** Packs a folder with a Node program into an image, from nothing but what is on this machine. */
export async function buildNodeImage(options: NodeImageOptions): Promise<BuiltImage> {
  const main = mainOf(options.folder)
  const files = await appFiles(options.folder)
  if (!files.some(({ path }) => path === `app/${main}`))
    throw new Failure(`${options.folder} has no ${main}; name the program as "main" in its package.json.`)
  await mkdir(options.cache, { recursive: true })
  const base = await nodeBaseLayer(options.nodeBinary, options.cache)
  const app = await appLayer(files, options.cache)
  return describeImage([base, app], {
    architecture: options.architecture ?? imageArchitecture(),
    config: {
      Entrypoint: ['/usr/local/bin/node', `/app/${main}`],
      WorkingDir: '/app',
      User: '1000:1000',
      Env: ['PATH=/usr/local/bin:/usr/bin:/bin', 'NODE_ENV=production'],
      ExposedPorts: { [`${options.port ?? 8080}/tcp`]: {} },
      ...(options.labels === undefined ? {} : { Labels: options.labels }),
    },
  })
}

/** Configuration and manifest around layers; the same input gives the same digest. */
export function describeImage(
  layers: LayerFile[],
  image: { architecture: string; config: Record<string, unknown> },
): BuiltImage {
  const config = Buffer.from(
    JSON.stringify({
      architecture: image.architecture,
      os: 'linux',
      created: '1970-01-01T00:00:00Z',
      config: image.config,
      rootfs: { type: 'layers', diff_ids: layers.map(({ diffId }) => diffId) },
    }),
  )
  const manifest = Buffer.from(
    JSON.stringify({
      schemaVersion: 2,
      mediaType: manifestType,
      config: { mediaType: configType, size: config.length, digest: sha256(config) },
      layers: layers.map(({ size, digest }) => ({ mediaType: layerType, size, digest })),
    }),
  )
  return { config, manifest, digest: sha256(manifest), layers }
}

export function sha256(content: Buffer): string {
  return `sha256:${createHash('sha256').update(content).digest('hex')}`
}

async function appLayer(files: LayerEntry[], cache: string): Promise<LayerFile> {
  const hash = createHash('sha256')
  for (const entry of files) {
    hash.update(`${entry.path}\0${entry.mode}\0`)
    if (entry.kind === 'file' && 'content' in entry.source) hash.update(entry.source.content)
  }
  const entries = [...parentFolders(files.map(({ path }) => path)), ...files]
  return await writeLayer(entries, join(cache, `app-${hash.digest('hex').slice(0, 16)}.tar.gz`))
}

const leftOut = /^(node_modules|\..*|Dockerfile|README\.md|tsconfig\.json|.*\.test\.[jt]s)$/

async function appFiles(folder: string): Promise<LayerEntry[]> {
  const root = await realpath(folder).catch(() => {
    throw new Failure(`There is no folder ${folder}.`)
  })
  const names = await readdir(root, { recursive: true })
  const kept = names.filter((name) => !name.split('/').some((part) => leftOut.test(part))).sort()
  const entries: LayerEntry[] = []
  for (const name of kept) {
    const path = join(root, name)
    const { mode } = await stat(path)
    if ((await stat(path)).isDirectory()) continue
    const executable = (mode & 0o100) !== 0
    const content = await readFile(path)
    entries.push({ path: `app/${name}`, kind: 'file', mode: executable ? 0o755 : 0o644, source: { content } })
  }
  return entries
}
