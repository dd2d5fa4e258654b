import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { parentFolders, writeLayer } from './layer.ts'
import { parseLdd } from './node-base.ts'
import { describeImage, sha256 } from './node-image.ts'
import { parsePushTarget } from './push.ts'

let folder: string

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'berth-image-'))
})

afterEach(() => rm(folder, { recursive: true, force: true }))

const entry = (path: string, text: string) =>
  ({ path, kind: 'file', mode: 0o644, source: { content: Buffer.from(text) } }) as const

test('the same files give the same layer, in whatever order they come', async () => {
  const one = await writeLayer([entry('a', '1'), entry('b', '2')], join(folder, 'one'))
  const two = await writeLayer([entry('b', '2'), entry('a', '1')], join(folder, 'two'))
  expect(two).toEqual({ ...one, file: two.file })
  const other = await writeLayer([entry('a', '1'), entry('b', '3')], join(folder, 'other'))
  expect(other.diffId).not.toBe(one.diffId)
})

test('a layer from disk equals one from memory', async () => {
  await mkdir(join(folder, 'src'))
  await writeFile(join(folder, 'src', 'a'), 'x'.repeat(100_000))
  const fromDisk = { ...entry('a', ''), source: { file: join(folder, 'src', 'a') } }
  const disk = await writeLayer([fromDisk], join(folder, 'disk'))
  const memory = await writeLayer([entry('a', 'x'.repeat(100_000))], join(folder, 'memory'))
  expect(disk.diffId).toBe(memory.diffId)
})

test('folders above a file are named once each', () => {
  expect(parentFolders(['usr/bin/node', 'usr/lib/a']).map(({ path }) => path)).toEqual([
    'usr',
    'usr/bin',
    'usr/lib',
  ])
})

test('the manifest names the digests of configuration and layers', () => {
  const layer = {
    file: '/x',
    size: 3,
    digest: `sha256:${'a'.repeat(64)}`,
    diffId: `sha256:${'b'.repeat(64)}`,
  }
  const image = describeImage([layer], { architecture: 'arm64', config: { User: '1000' } })
  const manifest = JSON.parse(image.manifest.toString()) as {
    config: { digest: string }
    layers: { digest: string }[]
  }
  expect(manifest.config.digest).toBe(sha256(image.config))
  expect(manifest.layers.map(({ digest }) => digest)).toEqual([layer.digest])
  expect(JSON.parse(image.config.toString())).toMatchObject({
    architecture: 'arm64',
    rootfs: { diff_ids: [layer.diffId] },
  })
})

test('reads what ldd says, with and without arrows', () => {
  const output = [
    '\tlinux-vdso.so.1 (0x00007ffd)',
    '\tlibatomic.so.1 => /lib/x86_64-linux-gnu/libatomic.so.1 (0x00007f)',
    '\t/lib64/ld-linux-x86-64.so.2 (0x00007f)',
  ].join('\n')
  expect(parseLdd(output)).toEqual(['/lib/x86_64-linux-gnu/libatomic.so.1', '/lib64/ld-linux-x86-64.so.2'])
  expect(() => parseLdd('\tlibatomic.so.1 => not found')).toThrow('Node needs libatomic.so.1')
})

test('only a registry on this machine can be pushed to', () => {
  expect(parsePushTarget('127.0.0.1:5050/team/hello:1')).toEqual({
    host: '127.0.0.1',
    port: 5050,
    repository: 'team/hello',
    tag: '1',
  })
  expect(parsePushTarget('localhost:5050/hello').tag).toBe('latest')
  for (const bad of ['hello', 'docker.io/library/nginx', '127.0.0.1:5050/Hello', '127.0.0.1:5050/h:1\n'])
    expect(() => parsePushTarget(bad)).toThrow('must look like')
})
