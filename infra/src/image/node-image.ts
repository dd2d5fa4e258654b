import { createHash } from 'node:crypto'
import { lstat, mkdir, readdir, readFile, stat } from 'node:fs/promises'
import { basename, join } from 'node:path'
import { Failure, messageOf } from '../failure.ts'
import { type LayerEntry, type LayerFile, parentFolders, writeLayer } from './layer.ts'
import { imageArchitecture, mainOf, nodeBaseLayer } from './node-base.ts'

/** An image that is ready to be pushed or written to an archive. */
export type BuiltImage = { config: Buffer; manifest: Buffer; digest: string; layers: LayerFile[] }

/** `leftOut` are the paths in the folder that did not go into the image, without what lies below them. */
export type NodeImage = BuiltImage & { leftOut: string[] }

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
export async function buildNodeImage(options: NodeImageOptions): Promise<NodeImage> {
  const main = mainOf(options.folder)
  const { files, leftOut } = await appFiles(options.folder)
  if (!files.some(({ path }) => path === `app/${main}`))
    throw new Failure(`${options.folder} has no ${main}; name the program as "main" in its package.json.`)
  await mkdir(options.cache, { recursive: true })
  const base = await nodeBaseLayer(options.nodeBinary, options.cache)
  const app = await appLayer(files, options.cache)
  const image = describeImage([base, app], {
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
  return { ...image, leftOut }
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

const notPacked = /^(node_modules|\..*|Dockerfile|README\.md|tsconfig\.json|.*\.test\.[jt]s)$/

/** Files and links to files; a linked folder may lead anywhere, and a pipe has no end. */
async function appFiles(folder: string): Promise<{ files: LayerEntry[]; leftOut: string[] }> {
  const found = await readdir(folder, { recursive: true }).catch((error: unknown) => {
    throw new Failure(`The folder ${folder} cannot be read: ${messageOf(error)}.`, { cause: error })
  })
  const files: LayerEntry[] = []
  const leftOut: string[] = []
  for (const path of found.sort()) {
    if (leftOut.some((above) => path.startsWith(`${above}/`))) continue
    const file = join(folder, path)
    const about = notPacked.test(basename(path)) ? undefined : await stat(file).catch(() => undefined)
    if (about?.isFile() === true) files.push(await appFile(file, `app/${path}`, about.mode))
    else if (about === undefined || !(await lstat(file)).isDirectory()) leftOut.push(path)
  }
  return { files, leftOut }
}

async function appFile(file: string, path: string, mode: number): Promise<LayerEntry> {
  try {
    const source = { content: await readFile(file) }
    return { path, kind: 'file', mode: (mode & 0o100) === 0 ? 0o644 : 0o755, source }
  } catch (error) {
    throw new Failure(`${file} cannot be read: ${messageOf(error)}.`, { cause: error })
  }
}
