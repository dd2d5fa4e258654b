import type { NodeUid } from '@berth/contracts'
import { connectEngine, type ContainerRuntime } from '@berth/engine'
import { heldFence, lostFence, startFakeEngine, type FakeEngine } from '@berth/engine/testing'
import { mkdtemp, rm } from 'node:fs/promises'
import { request, type IncomingMessage } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Readable } from 'node:stream'
import { buffer, text } from 'node:stream/consumers'
import { pino } from 'pino'
import { pack } from 'tar-stream'
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest'
import type { ReplicaHost } from '../replicas/index.ts'
import { openControlServer } from './control-server.ts'
import { createVolumeTransfers, type VolumeTransfers } from './volume-transfers.ts'

const installation = 'door'
const name = `berth-${installation}-vol-1`
const labels = { 'berth.installation': installation }
const node = 'nod-1' as NodeUid
const path = `/nodes/${node}/volumes/vol-1/archive`
const patient = { timeout: 20_000, interval: 10 }

let folder: string
let engine: FakeEngine
let runtime: ContainerRuntime
let server: { close(): Promise<void> }
let transfers: VolumeTransfers | undefined
let term: AbortController

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'door-'))
  engine = await startFakeEngine()
  engine.addImage('berth-sandbox:1')
  runtime = connectEngine(engine.endpoint, { limits: { readMs: 60_000 } })
  await runtime.ensureVolume({ name, labels }, heldFence)
  term = new AbortController()
  transfers = transfersWith()
  server = await openControlServer({
    socketPath: join(folder, 'c'),
    locate: () => undefined,
    transfers: () => transfers,
    log: pino({ level: 'silent' }),
  })
})
afterEach(async () => {
  await server.close()
  runtime.close()
  await engine.stop()
  await rm(folder, { recursive: true })
})

function transfersWith(fence = heldFence): VolumeTransfers {
  const host: ReplicaHost = {
    uid: node,
    name: 'n1',
    runtime,
    architecture: 'amd64',
    honestPorts: true,
    cpuMillis: 1000,
    sandboxImage: 'berth-sandbox:1',
    restoreSandboxImage: async () => void engine.addImage('berth-sandbox:1'),
  }
  const hostOf = (uid: NodeUid) => (uid === node ? host : null)
  return createVolumeTransfers({ installation, hostOf, fence, signal: term.signal })
}

async function aTar(): Promise<Buffer> {
  const tar = pack()
  tar.entry({ name: './a', mtime: new Date(0) }, 'content')
  tar.finalize()
  return await buffer(tar)
}

function endless(): Readable {
  return new Readable({
    read() {
      this.push(Buffer.alloc(16_384))
    },
  })
}

/** The head of the answer; `body` is sent with it where there is one. */
function ask(
  method: string,
  target: string,
  body?: Readable,
  signal?: AbortSignal,
): Promise<IncomingMessage> {
  return new Promise((resolve, reject) => {
    const sent = request({
      socketPath: join(folder, 'c'),
      path: target,
      method,
      agent: false,
      ...(signal && { signal }),
    })
    sent.once('response', resolve)
    sent.on('error', reject)
    if (body) body.pipe(sent)
    else sent.end()
  })
}

async function told(
  answer: Promise<IncomingMessage>,
): Promise<{ status: number | undefined; body: unknown }> {
  const response = await answer
  return { status: response.statusCode, body: JSON.parse(await text(response)) as unknown }
}

async function expectNothingLeft(): Promise<void> {
  await vi.waitFor(() => expect(engine.containers()).toEqual([]), patient)
  await vi.waitFor(() => expect(transfers?.underWay(node)).toBe(false), patient)
}

describe('the door to volumes', () => {
  test('lets an archive in and out, and tells the size', async () => {
    const tar = await aTar()
    expect((await ask('PUT', path, Readable.from([tar]))).statusCode).toBe(204)
    expect(await buffer(await ask('GET', path))).toEqual(tar)
    expect(await told(ask('GET', `/nodes/${node}/volumes/vol-1/size`))).toEqual({
      status: 200,
      body: { bytes: 12 * 1024 },
    })
    await expectNothingLeft()
  })

  test('brings the image of helpers back when somebody has removed it', async () => {
    engine.state.images.clear()
    expect((await ask('PUT', path, Readable.from([await aTar()]))).statusCode).toBe(204)
  })

  test('tells of a node that does not answer, to who reads and to who writes', async () => {
    const target = '/nodes/nod-2/volumes/vol-1/archive'
    for (const answer of [ask('GET', target), ask('PUT', target, endless())])
      expect(await told(answer)).toMatchObject({ status: 503, body: { code: 'node-unavailable' } })
  })

  const goneVolume = `/nodes/${node}/volumes/vol-2`
  test.each(['archive', 'size'])('tells who asks for the %s of a volume that is gone', async (what) => {
    const answer = ask('GET', `${goneVolume}/${what}`)
    expect(await told(answer)).toMatchObject({ status: 404, body: { code: 'volume-gone' } })
    expect(engine.calls).not.toContain('POST /containers/create')
  })

  test('makes a volume for who writes one that is gone, open to everybody', async () => {
    // Also where the first attempt found no image for its helpers.
    engine.state.images.clear()
    expect((await ask('PUT', `${goneVolume}/archive`, Readable.from([await aTar()]))).statusCode).toBe(204)
    const made = `berth-${installation}-vol-2`
    expect(engine.state.volumes.get(made)).toEqual({ ...labels, 'berth.role': 'volume' })
    expect(engine.calls.filter((call) => call.startsWith('PUT '))).toHaveLength(2)
    expect(await buffer(await ask('GET', `${goneVolume}/archive`))).toEqual(await aTar())
  })

  test('never writes to what another installation has', async () => {
    engine.state.volumes.set(name, { 'berth.installation': 'other' })
    const answer = ask('PUT', path, Readable.from([await aTar()]))
    expect(await told(answer)).toMatchObject({ status: 404 })
    expect(engine.state.archives.size).toBe(0)
  })

  test.each([
    [500, 'Error processing tar file: unexpected EOF', 422, 'archive-invalid'],
    [500, 'write /volume/a: no space left on device', 507, 'no-space'],
    [500, 'something else', 503, 'node-unavailable'],
  ])('tells what an engine refuses with %i %s', async (failed, message, status, code) => {
    engine.fail('PUT /containers/*/archive', { status: failed, message })
    const answer = ask('PUT', path, Readable.from([await aTar()]))
    expect(await told(answer)).toMatchObject({ status, body: { code } })
    await expectNothingLeft()
  })

  test('is shut while the worker does not lead, or has lost its lease', async () => {
    transfers = undefined
    expect(await told(ask('GET', path))).toMatchObject({ status: 503 })
    transfers = transfersWith(lostFence)
    expect(await told(ask('GET', path))).toMatchObject({ status: 503, body: { code: 'node-unavailable' } })
    expect(engine.containers()).toEqual([])
  })

  test('knows nothing else', async () => {
    expect((await ask('DELETE', path)).statusCode).toBe(404)
    expect((await ask('GET', `/nodes/${node}/volumes/..%2f/archive`)).statusCode).toBe(404)
  })
})

describe('a transfer', () => {
  test('keeps its helper from garbage collection until its last byte', async () => {
    engine.state.archives.set(name, endless)
    const answer = await ask('GET', path)
    expect(transfers?.underWay(node)).toBe(true)
    answer.destroy()
    await expectNothingLeft()
  })

  type Parts = { answer: IncomingMessage; source: Readable }
  test.each([
    ['the reader leaves', ({ answer }: Parts) => void answer.destroy()],
    ['the term ends', () => term.abort()],
    ['the engine breaks off', ({ source }: Parts) => void source.destroy(new Error('broken'))],
  ])('out ends when %s', async (_what, end) => {
    const source = endless()
    engine.state.archives.set(name, () => source)
    const answer = await ask('GET', path)
    const whole = vi.fn()
    answer
      .on('error', () => {})
      .once('end', whole)
      .resume()
    end({ answer, source })
    await expectNothingLeft()
    await vi.waitFor(() => expect(answer.destroyed).toBe(true), patient)
    expect(whole).not.toHaveBeenCalled()
  })

  test('of a size ends when nobody waits for it any more', async () => {
    engine.hang('GET /containers/*/logs')
    const left = new AbortController()
    const size = ask('GET', `/nodes/${node}/volumes/vol-1/size`, undefined, left.signal)
    size.catch(() => {})
    await vi.waitFor(() => expect(engine.containers()).toHaveLength(1), patient)
    left.abort()
    await expectNothingLeft()
  })

  test('in ends when the sender leaves', async () => {
    const left = new AbortController()
    const sent = ask('PUT', path, endless(), left.signal).catch((error: unknown) => error)
    await vi.waitFor(() => expect(engine.containers()).toHaveLength(1), patient)
    left.abort()
    expect(await sent).toBeInstanceOf(Error)
    await expectNothingLeft()
    expect(engine.state.archives.has(name)).toBe(false)
  })
})
