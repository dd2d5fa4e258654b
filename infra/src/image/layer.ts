import { createHash } from 'node:crypto'
import { createReadStream, createWriteStream } from 'node:fs'
import { rename, rm, stat } from 'node:fs/promises'
import { Transform } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { createGzip } from 'node:zlib'
import { pack } from 'tar-stream'

/** One file or folder of a layer. Owner is always root, the time always 1970: same content, same digest. */
export type LayerEntry =
  | { path: string; kind: 'file'; mode: number; source: { content: Buffer } | { file: string } }
  | { path: string; kind: 'folder'; mode: number }

/** A gzipped layer on disk. `digest` is of the file, `diffId` of the tar inside; both "sha256:...". */
export type LayerFile = { file: string; size: number; digest: string; diffId: string }

/** Writes a layer to `file` (whole or not at all). Entries are sorted by path, parents must be listed. */
export async function writeLayer(entries: readonly LayerEntry[], file: string): Promise<LayerFile> {
  const draft = `${file}.${process.pid}`
  const tar = pack()
  const inner = createHash('sha256')
  const outer = createHash('sha256')
  const written = pipeline(
    tar,
    hashing(inner),
    // Level 1: the Node binary is large, and it travels over loopback only.
    createGzip({ level: 1 }),
    hashing(outer),
    createWriteStream(draft),
  )
  try {
    await Promise.all([written, fill(tar, entries)])
    await rename(draft, file)
  } catch (error) {
    await rm(draft, { force: true })
    throw error
  }
  const { size } = await stat(file)
  return { file, size, digest: `sha256:${outer.digest('hex')}`, diffId: `sha256:${inner.digest('hex')}` }
}

async function fill(tar: ReturnType<typeof pack>, entries: readonly LayerEntry[]): Promise<void> {
  const sorted = entries.toSorted((a, b) => (a.path < b.path ? -1 : 1))
  for (const entry of sorted) {
    const header = { name: entry.path, mode: entry.mode, uid: 0, gid: 0, mtime: new Date(0) }
    if (entry.kind === 'folder') {
      tar.entry({ ...header, name: `${entry.path}/`, type: 'directory' })
    } else if ('content' in entry.source) {
      tar.entry({ ...header, size: entry.source.content.length }, entry.source.content)
    } else {
      const { size } = await stat(entry.source.file)
      await pipeline(createReadStream(entry.source.file), tar.entry({ ...header, size }))
    }
  }
  tar.finalize()
}

function hashing(hash: ReturnType<typeof createHash>): Transform {
  return new Transform({
    transform(chunk: Buffer, _encoding, done) {
      hash.update(chunk)
      done(null, chunk)
    },
  })
}

/** The folders above each path, so that a layer names them with sane modes. */
export function parentFolders(paths: readonly string[]): LayerEntry[] {
  const folders = new Set<string>()
  for (const path of paths) {
    const parts = path.split('/')
    for (let depth = 1; depth < parts.length; depth += 1) folders.add(parts.slice(0, depth).join('/'))
  }
  return [...folders].map((path) => ({ path, kind: 'folder', mode: 0o755 }))
}
