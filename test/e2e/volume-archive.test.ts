import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { Readable } from 'node:stream'
import { buffer } from 'node:stream/consumers'
import { type ContainerRuntime, connectEngine, ensureSandboxImage, parseEndpoint } from '@berth/engine'
import { heldFence } from '@berth/engine/testing'
import { extract, type Header, pack } from 'tar-stream'
import { afterAll, beforeAll, beforeEach, describe, expect, inject, test, vi } from 'vitest'

/* What a real engine does with the content of volumes: Berth leaves the packing and unpacking to it. */

const [engine] = inject('platform').engines
const busybox = readFileSync('/bin/busybox')
const installation = `e2e${randomBytes(4).toString('hex')}`
const labels = { 'berth.installation': installation }
const patient = { timeout: 30_000, interval: 50 }

let runtime: ContainerRuntime
let helper: { image: string; labels: Record<string, string> }
let volume: string
const made: string[] = []

beforeAll(async () => {
  runtime = connectEngine(parseEndpoint(engine?.endpoint ?? ''))
  helper = { image: await ensureSandboxImage(runtime, busybox, heldFence), labels }
})
beforeEach(async () => {
  volume = `berth-${installation}-${made.length}`
  made.push(volume)
  await runtime.ensureVolume({ name: volume, labels }, heldFence)
})
afterAll(async () => {
  await expectNoHelper()
  for (const name of made) await runtime.removeVolume(name, heldFence)
  runtime.close()
})

type Entry = Partial<Header> & { name: string; content?: string }

/** Entries as they stand in a tar; owners, modes and times where they are given. */
async function tarOf(entries: Entry[]): Promise<Buffer> {
  const tar = pack()
  for (const { content, ...header } of entries) tar.entry({ mtime: new Date(0), ...header }, content ?? '')
  tar.finalize()
  return await buffer(tar)
}

const write = (tar: Buffer | Readable, name = volume) =>
  runtime.writeVolume(name, helper, Buffer.isBuffer(tar) ? Readable.from([tar]) : tar, heldFence)
const read = (name = volume) => runtime.readVolume(name, helper, heldFence)

/** What is in a volume, without the times of folders. */
async function entriesOf(name = volume): Promise<Map<string, Entry>> {
  const entries = new Map<string, Entry>()
  const unpacked = extract()
  unpacked.end(await buffer(await read(name)))
  for await (const entry of unpacked) {
    const content = (await buffer(entry)).toString()
    const { mode } = entry.header
    entries.set(entry.header.name, { ...entry.header, mode: mode & 0o7777, content })
  }
  return entries
}

async function expectNoHelper(): Promise<void> {
  await vi.waitFor(async () => expect(await runtime.list({ installation })).toEqual([]), patient)
}

/** A tar with one file of so many mebibytes, made as it is asked for. */
function aLargeTar(mebibytes: number): Readable {
  const chunk = Buffer.alloc(1024 ** 2, 7)
  const tar = pack()
  const file = tar.entry({ name: './large', size: mebibytes * chunk.length })
  async function feed(): Promise<void> {
    for (let left = mebibytes; left > 0; left -= 1) if (!file.write(chunk)) await once(file, 'drain')
    file.end(undefined)
    tar.finalize()
  }
  feed().catch((error: Error) => tar.destroy(error))
  return Readable.from(tar)
}

describe('a volume that is written and read', () => {
  test('keeps content, owners, modes, times and links', async () => {
    const files: Entry[] = [
      { name: './', type: 'directory', mode: 0o750, uid: 1000, gid: 1001 },
      {
        name: './a',
        mode: 0o640,
        uid: 70_000,
        gid: 5,
        mtime: new Date('2020-02-02T02:02:02Z'),
        content: 'A',
      },
      { name: './tool', mode: 0o4755, uid: 0, gid: 0, content: '#!' },
      { name: './ünï/', type: 'directory', mode: 0o1777, uid: 1, gid: 2 },
      { name: `./ünï/${'long'.repeat(40)}`, mode: 0o600, uid: 1, gid: 2, content: 'deep' },
      { name: './soft', type: 'symlink', linkname: '/data/elsewhere', mode: 0o777, uid: 3, gid: 3 },
      { name: './same', type: 'link', linkname: './a', mode: 0o640, uid: 70_000, gid: 5 },
    ]
    await write(await tarOf(files))
    const first = await entriesOf()
    expect([...first.keys()].sort()).toEqual(files.map(({ name }) => name).sort())
    for (const { name, mode, uid, gid, type = 'file' } of files.filter(({ type }) => type !== 'link'))
      expect([name, first.get(name)]).toMatchObject([name, { mode, uid, gid, type }])
    expect(first.get('./soft')?.linkname).toBe('/data/elsewhere')
    expect(first.get('./a')?.mtime).toEqual(new Date('2020-02-02T02:02:02Z'))
    // One of two names of a file is the file, the other a link to it.
    expect([first.get('./a')?.content, first.get('./same')?.content].join('')).toBe('A')

    const copy = `${volume}-copy`
    made.push(copy)
    await runtime.ensureVolume({ name: copy, labels }, heldFence)
    await write(await buffer(await read()), copy)
    expect(await entriesOf(copy)).toEqual(first)
  })

  test('that is larger than any buffer arrives whole, is measured, and needs little memory', async () => {
    const before = process.memoryUsage().rss
    await write(aLargeTar(200))
    expect(await runtime.measureVolume(volume, helper, heldFence)).toBeGreaterThanOrEqual(200 * 1024 ** 2)
    let bytes = 0
    for await (const chunk of await read()) bytes += (chunk as Buffer).length
    expect(bytes).toBeGreaterThan(200 * 1024 ** 2)
    expect(process.memoryUsage().rss - before).toBeLessThan(150 * 1024 ** 2)
  })

  test('is open to everybody in the container once it was opened', async () => {
    expect((await entriesOf()).get('./')?.mode).not.toBe(0o777)
    await runtime.openVolume({ name: volume, labels }, helper.image, heldFence)
    expect((await entriesOf()).get('./')?.mode).toBe(0o777)
  })

  test('counts folders that only their owner may open', async () => {
    const content = 'x'.repeat(1024 ** 2)
    await write(
      await tarOf([
        { name: './private/', type: 'directory', mode: 0o700, uid: 4321, gid: 4321 },
        { name: './private/x', mode: 0o600, uid: 4321, gid: 4321, content },
      ]),
    )
    expect(await runtime.measureVolume(volume, helper, heldFence)).toBeGreaterThanOrEqual(1024 ** 2)
  })

  test('is let go of at once by a reader that leaves', async () => {
    await write(aLargeTar(100))
    const tar = await read()
    tar.destroy()
    await expectNoHelper()
    await runtime.removeVolume(volume, heldFence)
  })
})

describe('a tar that is not what it should be', () => {
  test.each<[string, Entry[]]>([
    ['names a parent folder', [{ name: '../../evil', content: 'x' }]],
    ['links out of the volume', [{ name: 'out', type: 'symlink', linkname: '../../../tmp' }]],
    ['shares a file with what is outside', [{ name: 'h', type: 'link', linkname: '../bin/busybox' }]],
  ])('is refused when it %s', async (_what, entries) => {
    await expect(write(await tarOf(entries))).rejects.toMatchObject({ code: 'ArchiveInvalid' })
    expect([...(await entriesOf()).keys()]).toEqual(['./'])
  })

  test('with absolute names stays within', async () => {
    await write(await tarOf([{ name: '/etc/inside', content: 'x' }]))
    expect((await entriesOf()).get('./etc/inside')?.content).toBe('x')
  })

  test('that writes through its own link changes nothing but the helper that goes', async () => {
    const name = `evil-${installation}`
    await write(
      await tarOf([
        { name: 'out', type: 'symlink', linkname: '/bin' },
        { name: `out/${name}`, content: 'x' },
      ]),
    )
    expect([...(await entriesOf()).keys()]).toEqual(['./', './out'])
    expect(() => readFileSync(`/bin/${name}`)).toThrow('ENOENT')
  })

  test('is refused when it ends too early or is none', async () => {
    const whole = await tarOf([{ name: './a', content: 'a'.repeat(5_000) }])
    for (const bad of [whole.subarray(0, 2_000), Buffer.alloc(2_000, 'x')])
      await expect(write(bad)).rejects.toMatchObject({ code: 'ArchiveInvalid' })
    await expectNoHelper()
  })
})
