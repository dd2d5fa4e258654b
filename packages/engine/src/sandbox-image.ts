import { createHash } from 'node:crypto'
import { pack } from 'tar-stream'
import type { ContainerRuntime, Fence } from './container-runtime.ts'
import { EngineError } from './engine-error.ts'

/** `e_machine` of the ELF header. */
const elfMachines = new Map([
  [0x3e, 'amd64'],
  [0xb7, 'arm64'],
])
const builtAt = '2026-01-01T00:00:00Z'

/** `docker load` input for the sandbox's image, and the name that it is loaded under. */
export type SandboxImage = { name: string; tar: Buffer }

/**
 * Makes the sandbox's image from the bytes of a static busybox: one layer with `/bin/busybox`, which sleeps. The
 * same bytes always give the same image; the name carries its hash. `ArchitectureMismatch` when the busybox is not
 * for the node's processor.
 */
export async function sandboxImage(busybox: Buffer, architecture: string): Promise<SandboxImage> {
  const built = architectureOf(busybox)
  if (built !== undefined && built !== architecture)
    throw new EngineError(
      'ArchitectureMismatch',
      `the busybox here is for ${built}, the node is ${architecture}`,
    )
  const layer = await tarOf([
    { name: 'bin/', mode: 0o755 },
    { name: 'bin/busybox', mode: 0o755, content: busybox },
  ])
  const config = Buffer.from(
    JSON.stringify({
      architecture,
      os: 'linux',
      created: builtAt,
      config: {
        Entrypoint: ['/bin/busybox', 'sleep', '2147483647'],
        User: '65532:65532',
        Env: ['PATH=/bin'],
      },
      rootfs: { type: 'layers', diff_ids: [`sha256:${sha256(layer)}`] },
      history: [{ created: builtAt, created_by: 'berth sandbox' }],
    }),
  )
  const name = `berth-sandbox:${sha256(config).slice(0, 16)}`
  const manifest = [
    { Config: `${sha256(config)}.json`, RepoTags: [name], Layers: [`${sha256(layer)}/layer.tar`] },
  ]
  const tar = await tarOf([
    { name: `${sha256(config)}.json`, mode: 0o644, content: config },
    { name: `${sha256(layer)}/`, mode: 0o755 },
    { name: `${sha256(layer)}/layer.tar`, mode: 0o644, content: layer },
    { name: 'manifest.json', mode: 0o644, content: Buffer.from(JSON.stringify(manifest)) },
  ])
  return { name, tar }
}

/** Loads the sandbox's image where it is missing; the name to create sandboxes from. */
export async function ensureSandboxImage(
  runtime: ContainerRuntime,
  busybox: Buffer,
  fence: Fence,
): Promise<string> {
  const { architecture } = await runtime.info()
  const image = await sandboxImage(busybox, architecture)
  if ((await runtime.inspectImage(image.name)) === null) await runtime.loadImage(image.tar, fence)
  return image.name
}

/** The processor that an ELF program is for, undefined when it is none or of a kind Berth does not know. */
function architectureOf(program: Buffer): string | undefined {
  if (program.length < 20 || program.toString('latin1', 0, 4) !== '\x7fELF') return undefined
  return elfMachines.get(program.readUInt16LE(18))
}

/** Entries with a fixed time and owner; a name that ends with a slash is a folder. */
async function tarOf(entries: { name: string; mode: number; content?: Buffer }[]): Promise<Buffer> {
  const tar = pack()
  for (const { name, mode, content } of entries) {
    const type = content === undefined ? 'directory' : 'file'
    tar.entry({ name, mode, type, mtime: new Date(0), uid: 0, gid: 0 }, content ?? '')
  }
  tar.finalize()
  const chunks: Buffer[] = []
  for await (const chunk of tar as AsyncIterable<Buffer>) chunks.push(chunk)
  return Buffer.concat(chunks)
}

function sha256(bytes: Buffer): string {
  return createHash('sha256').update(bytes).digest('hex')
}
