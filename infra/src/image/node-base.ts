import { execFile } from 'node:child_process'
import { createHash } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { copyFile, mkdir, readFile, realpath, rm, stat, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { Failure } from '../failure.ts'
import { type LayerEntry, type LayerFile, parentFolders, writeLayer } from './layer.ts'

const run = promisify(execFile)
/** Part of the cache key: raise it when the layer's content changes for another reason than its files. */
const layoutVersion = 1

const passwd = 'root:x:0:0:root:/root:/sbin/nologin\napp:x:1000:1000:app:/app:/sbin/nologin\n'
const group = 'root:x:0:\napp:x:1000:\n'

/**
 * The layer under every image that is made here: the Node binary in node_modules, the libraries that it
 * needs, /tmp and two users. Made once and kept in `cache`, so that all images share it.
 */
export async function nodeBaseLayer(nodeBinary: string, cache: string): Promise<LayerFile> {
  const binary = await realpath(nodeBinary)
  const { size, mtimeMs } = await stat(binary)
  const key = createHash('sha256')
    .update(JSON.stringify([layoutVersion, binary, size, mtimeMs]))
    .digest('hex')
  const name = `node-${process.arch}-${key.slice(0, 16)}`
  const known = await readKnown(join(cache, `${name}.json`))
  if (known !== undefined) return known
  await mkdir(cache, { recursive: true })
  const stripped = join(cache, `${name}.stripped.${process.pid}`)
  try {
    const node = (await strip(binary, stripped)) ? stripped : binary
    const layer = await writeLayer(await baseEntries(binary, node), join(cache, `${name}.tar.gz`))
    await writeFile(join(cache, `${name}.json`), JSON.stringify(layer))
    return layer
  } finally {
    await rm(stripped, { force: true })
  }
}

async function baseEntries(binary: string, packed: string): Promise<LayerEntry[]> {
  const { stdout } = await run('ldd', [binary])
  const file = (path: string, mode: number, source: string): LayerEntry => ({
    path,
    kind: 'file',
    mode,
    source: { file: source },
  })
  const text = (path: string, content: string): LayerEntry => ({
    path,
    kind: 'file',
    mode: 0o644,
    source: { content: Buffer.from(content) },
  })
  const libraries = parseLdd(stdout)
  const files = [
    file('usr/local/bin/node', 0o755, packed),
    ...libraries.map((path) => file(path.slice(1), 0o755, path)),
    text('etc/passwd', passwd),
    text('etc/group', group),
  ]
  const folders = parentFolders(files.map(({ path }) => path))
  return [...folders, { path: 'tmp', kind: 'folder', mode: 0o1777 }, ...files]
}

/** The library files that `ldd` names; a Failure when one of them is missing on this machine. */
export function parseLdd(output: string): string[] {
  const missing = /^\s*(\S+) => not found$/m.exec(output)?.[1]
  if (missing !== undefined) throw new Failure(`Node needs ${missing}; run ./berth packages as root.`)
  const paths = output.split('\n').flatMap((line) => /(?:=> |^\s*)(\/\S+) \(0x/.exec(line)?.[1] ?? [])
  return [...new Set(paths)].sort()
}

/** Leaves the symbols out (a third of the size); false where binutils is not installed. */
async function strip(from: string, to: string): Promise<boolean> {
  try {
    await copyFile(from, to)
    await run('strip', ['--strip-unneeded', to])
    return true
  } catch {
    return false
  }
}

async function readKnown(file: string): Promise<LayerFile | undefined> {
  try {
    const layer = JSON.parse(await readFile(file, 'utf8')) as LayerFile
    return (await stat(layer.file)).size === layer.size ? layer : undefined
  } catch {
    return undefined
  }
}

/** The processor in the words of container images. */
export function imageArchitecture(): string {
  return process.arch === 'x64' ? 'amd64' : process.arch
}

/** What a folder's package.json says is its program, with the usual fallbacks. */
export function mainOf(folder: string): string {
  try {
    const parsed = JSON.parse(readFileSync(join(folder, 'package.json'), 'utf8')) as { main?: string }
    return parsed.main ?? 'main.js'
  } catch {
    return 'main.js'
  }
}
