import { Readable } from 'node:stream'
import { buffer } from 'node:stream/consumers'
import { setTimeout as delay } from 'node:timers/promises'
import { pack } from 'tar-stream'
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest'
import { connectEngine } from './connect-engine.ts'
import type { ContainerRuntime } from './container-runtime.ts'
import { type FakeEngine, heldFence, lostFence, startFakeEngine } from './testing/index.ts'

const labels = { 'berth.installation': 'test' }
const volume = { name: 'berth-test-vol-1', labels: { ...labels, 'berth.role': 'volume' } }
const helper = { image: 'berth-sandbox:1', labels }

let engine: FakeEngine
let runtime: ContainerRuntime
beforeEach(async () => {
  engine = await startFakeEngine()
  engine.addImage(helper.image)
  runtime = connectEngine(engine.endpoint)
  await runtime.ensureVolume(volume, heldFence)
})
afterEach(async () => {
  runtime.close()
  await engine.stop()
})

const read = (signal?: AbortSignal) => runtime.readVolume(volume.name, helper, heldFence, signal)
const write = (tar: Readable, signal?: AbortSignal) =>
  runtime.writeVolume(volume.name, helper, tar, heldFence, signal)
const measure = (signal?: AbortSignal) => runtime.measureVolume(volume.name, helper, heldFence, signal)

async function aTar(): Promise<Buffer> {
  const tar = pack()
  tar.entry({ name: './a' }, 'content')
  tar.finalize()
  return await buffer(tar)
}

/** Bytes without end. */
function endless(): Readable {
  return new Readable({
    read() {
      this.push(Buffer.alloc(16_384))
    },
  })
}

/** A few bytes, and then nothing. */
function stuck(): Readable {
  let sent = false
  return new Readable({
    read() {
      if (!sent) this.push(Buffer.alloc(512))
      sent = true
    },
  })
}

/** What became of a call: its failure, or nothing. */
async function failureOf(call: Promise<unknown>): Promise<unknown> {
  return await call.then(
    () => undefined,
    (error: unknown) => error,
  )
}

async function expectNoHelper(): Promise<void> {
  await vi.waitFor(() => expect(engine.containers()).toEqual([]), { timeout: 10_000 })
}

describe('a volume', () => {
  test('is read as it was written, through containers that never start and go', async () => {
    const tar = await aTar()
    await write(Readable.from([tar]))
    expect(await buffer(await read())).toEqual(tar)
    expect(engine.calls.filter((call) => call.endsWith('/start'))).toEqual([])
    await expectNoHelper()
  })

  test('is mounted alone, by a container that is known as the installation’s', async () => {
    engine.state.archives.set(volume.name, endless)
    const tar = await read()
    expect(engine.containers().map(({ body }) => [body.Labels, body.HostConfig])).toMatchObject([
      [
        { ...labels, 'berth.role': 'volume-helper' },
        { NetworkMode: 'none', Mounts: [{ Type: 'volume', Source: volume.name, Target: '/volume' }] },
      ],
    ])
    tar.destroy()
    await expectNoHelper()
  })

  test('is measured by a container that may look everywhere and write nowhere', async () => {
    engine.delay('DELETE /containers/*', { ms: 100 })
    const counted = measure()
    await vi.waitFor(() => expect(engine.containers()).toHaveLength(1), { timeout: 10_000, interval: 5 })
    expect(engine.containers()[0]?.body).toMatchObject({
      Entrypoint: ['/bin/busybox', 'du', '-sk', '/volume'],
      HostConfig: {
        CapAdd: ['DAC_READ_SEARCH'],
        ReadonlyRootfs: true,
        Mounts: [{ Source: volume.name, ReadOnly: true }],
      },
    })
    expect(await counted).toBe(12 * 1024)
    await expectNoHelper()
  })

  test('that takes too long to count ends with a timeout and without its helper', async () => {
    const hasty = connectEngine(engine.endpoint, { limits: { stallMs: 50 } })
    engine.hang('GET /containers/*/logs')
    const counted = hasty.measureVolume(volume.name, helper, heldFence)
    expect(await failureOf(counted)).toMatchObject({ code: 'EngineTimeout' })
    await expectNoHelper()
    hasty.close()
  })

  test.each([
    ['that is gone', () => runtime.removeVolume(volume.name, heldFence)],
    [
      'of another installation',
      async () => void engine.state.volumes.set(volume.name, { 'berth.installation': 'other' }),
    ],
  ])('%s is not found, and none is made in its place', async (_which, lose) => {
    await lose()
    const before = [...engine.state.volumes]
    for (const call of [read(), write(Readable.from([await aTar()])), measure()])
      expect(await failureOf(call)).toMatchObject({ code: 'NotFound' })
    expect([...engine.state.volumes]).toEqual(before)
    expect(engine.calls).not.toContain('POST /containers/create')
  })

  test('is left alone without the lease', async () => {
    const calls = [
      runtime.readVolume(volume.name, helper, lostFence),
      runtime.writeVolume(volume.name, helper, stuck(), lostFence),
      runtime.measureVolume(volume.name, helper, lostFence),
    ]
    for (const call of calls) await expect(call).rejects.toThrow('lease')
    expect(engine.calls).not.toContain('POST /containers/create')
  })
})

describe('the folder that a volume is', () => {
  const tops = () => engine.calls.filter((call) => call.startsWith('PUT ')).length

  test.each(['./', '.', '/'])('gets owner and mode of the archive’s own entry "%s"', async (name) => {
    const tar = pack()
    tar.entry({ name, type: 'directory', mode: 0o700, uid: 999 })
    tar.entry({ name: './a' }, 'content')
    tar.finalize()
    await write(Readable.from([await buffer(tar)]))
    expect(tops()).toBe(2)
  })

  test('stays as it is where the archive says nothing of it', async () => {
    await write(Readable.from([await aTar()]))
    expect(tops()).toBe(1)
  })
})

describe('reading', () => {
  test('that the engine refuses leaves no helper', async () => {
    engine.fail('GET /containers/*/archive', { status: 500, message: 'no' })
    expect(await failureOf(read())).toMatchObject({ code: 'EngineFailure' })
    await expectNoHelper()
  })

  type Parts = { caller: AbortController; source: Readable; tar: Readable }
  test.each([
    ['the caller aborts', ({ caller }: Parts) => caller.abort()],
    ['the reader leaves', ({ tar }: Parts) => void tar.destroy()],
    ['the engine breaks off', ({ source }: Parts) => void source.destroy(new Error('broken'))],
  ])('leaves no helper when %s', async (_what, end) => {
    const source = endless()
    engine.state.archives.set(volume.name, () => source)
    const caller = new AbortController()
    const tar = await read(caller.signal)
    const failed = failureOf(buffer(tar))
    end({ caller, source, tar })
    expect(await failed).toBeInstanceOf(Error)
    await expectNoHelper()
  })

  test('that stands still is given up', async () => {
    const hasty = connectEngine(engine.endpoint, { limits: { stallMs: 100 } })
    engine.state.archives.set(volume.name, stuck)
    const tar = await hasty.readVolume(volume.name, helper, heldFence)
    expect(await failureOf(buffer(tar))).toBeInstanceOf(Error)
    await expectNoHelper()
    hasty.close()
  })
})

describe('writing', () => {
  test('what is no tar is refused as that', async () => {
    const failure = await failureOf(write(Readable.from([Buffer.alloc(2000, 'x')])))
    expect(failure).toMatchObject({ code: 'ArchiveInvalid', retryable: false })
    expect(engine.state.archives.has(volume.name)).toBe(false)
    await expectNoHelper()
  })

  test('on a full disk says so, and does not blame the tar', async () => {
    const message = 'Error processing tar file(exit status 1): write /volume/a: no space left on device'
    engine.fail('PUT /containers/*/archive', { status: 500, message })
    expect(await failureOf(write(Readable.from([await aTar()])))).toMatchObject({ code: 'NoSpace' })
  })

  test('a tar that breaks off is aborted, and its beginning is not taken for all of it', async () => {
    const tar = stuck()
    const failed = failureOf(write(tar))
    await vi.waitFor(() => expect(engine.containers()).toHaveLength(1), { timeout: 10_000, interval: 5 })
    await delay(50)
    tar.destroy(new Error('the client left'))
    expect(await failed).toMatchObject({ code: 'Aborted', outcome: 'unknown' })
    expect(engine.state.archives.has(volume.name)).toBe(false)
    await expectNoHelper()
  })

  test('ends when the caller aborts', async () => {
    const caller = new AbortController()
    const failed = failureOf(write(endless(), caller.signal))
    await vi.waitFor(() => expect(engine.containers()).toHaveLength(1), { timeout: 10_000, interval: 5 })
    caller.abort()
    expect(await failed).toMatchObject({ code: 'Aborted' })
    await expectNoHelper()
  })

  test('that stands still is given up', async () => {
    const hasty = connectEngine(engine.endpoint, { limits: { stallMs: 100 } })
    const written = hasty.writeVolume(volume.name, helper, stuck(), heldFence)
    expect(await failureOf(written)).toMatchObject({ code: 'EngineTimeout' })
    await expectNoHelper()
    hasty.close()
  })

  test('whose helper cannot be removed has still succeeded', async () => {
    engine.fail('DELETE /containers/*', { status: 500, message: 'device or resource busy' })
    expect(await failureOf(write(Readable.from([await aTar()])))).toBeUndefined()
    expect(engine.containers()).toHaveLength(1)
  })
})
