import { buffer } from 'node:stream/consumers'
import { extract, type Header, pack } from 'tar-stream'
import type { Fence } from './container-runtime.ts'
import type { EngineConnection } from './engine-connection.ts'
import { helperPath } from './volume-helper.ts'

/** Enough for the first entry of a tar with all that may be said of it. */
export const headBytes = 16 * 1024

/** Who may do what with the folder that a volume is. */
export type VolumeTop = Partial<Pick<Header, 'mode' | 'uid' | 'gid' | 'mtime'>>

/** What the beginning of a tar says of the folder itself, which archives of folders do first; undefined for others. */
export async function topOf(head: Buffer): Promise<VolumeTop | undefined> {
  const reader = extract()
  reader.end(head)
  try {
    for await (const { header } of reader) {
      const { type, name, mode, uid, gid, mtime } = header
      return type === 'directory' && /^\.?\/*$/.test(name) ? { mode, uid, gid, mtime } : undefined
    }
  } catch {
    // Compressed, or no tar at all: the engine tells.
  }
  return undefined
}

/** Unpacked from above: of the folder that it unpacks into, the engine takes nothing over. */
export async function setTop(
  engine: EngineConnection,
  volume: string,
  helper: string,
  top: VolumeTop,
  fence: Fence,
): Promise<void> {
  const tar = pack()
  tar.entry({ name: `${helperPath.slice(1)}/`, type: 'directory', ...top })
  tar.finalize()
  await engine.mutate(fence, {
    what: `open volume "${volume}"`,
    method: 'PUT',
    path: `/containers/${helper}/archive`,
    query: { path: '/' },
    upload: await buffer(tar),
    limitMs: engine.limits.createMs,
  })
}
