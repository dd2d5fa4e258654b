import { createHash } from 'node:crypto'
import { extract } from 'tar-stream'
import { describe, expect, test } from 'vitest'
import { sandboxImage } from './sandbox-image.ts'

async function filesOf(tar: Buffer): Promise<Map<string, Buffer>> {
  const files = new Map<string, Buffer>()
  const reader = extract()
  reader.end(tar)
  for await (const entry of reader) {
    const chunks: Buffer[] = []
    for await (const chunk of entry as AsyncIterable<Buffer>) chunks.push(chunk)
    files.set(entry.header.name, Buffer.concat(chunks))
  }
  return files
}

describe("the sandbox's image", () => {
  test('is the same for the same bytes and another for others', async () => {
    const [one, again, other] = await Promise.all(
      ['busybox', 'busybox', 'another'].map((text) => sandboxImage(Buffer.from(text), 'amd64')),
    )
    expect(again).toEqual(one)
    expect(other?.name).not.toBe(one?.name)
    expect(one?.name).toMatch(/^berth-sandbox:[0-9a-f]{16}$/)
  })

  test('is not made of a busybox for another processor', async () => {
    const elf = Buffer.concat([Buffer.from('\x7fELF'), Buffer.alloc(16)])
    elf.writeUInt16LE(0xb7, 18)
    await expect(sandboxImage(elf, 'amd64')).rejects.toMatchObject({ code: 'ArchitectureMismatch' })
    expect((await sandboxImage(elf, 'arm64')).name).toMatch(/^berth-sandbox:/)
  })

  test('is what docker load expects: the layer is the one that the configuration names', async () => {
    const { name, tar } = await sandboxImage(Buffer.from('busybox'), 'arm64')
    const files = await filesOf(tar)
    const [index] = JSON.parse(String(files.get('manifest.json'))) as [
      { Config: string; RepoTags: string[]; Layers: [string] },
    ]
    const config = JSON.parse(String(files.get(index.Config))) as {
      architecture: string
      rootfs: { diff_ids: string[] }
    }
    const layer = files.get(index.Layers[0]) ?? Buffer.alloc(0)
    expect(index.RepoTags).toEqual([name])
    expect(config.architecture).toBe('arm64')
    expect(config.rootfs.diff_ids).toEqual([`sha256:${createHash('sha256').update(layer).digest('hex')}`])
    expect(String((await filesOf(layer)).get('bin/busybox'))).toBe('busybox')
  })
})
