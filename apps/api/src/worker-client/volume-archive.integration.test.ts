import { once } from 'node:events'
import { mkdtemp, rm } from 'node:fs/promises'
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Readable } from 'node:stream'
import { buffer } from 'node:stream/consumers'
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest'
import { backUpVolume, measureVolume, restoreVolume } from '../operations/volume-archives.ts'
import { readVolumeArchive, writeVolumeArchive } from './volume-archive.ts'

type Handler = (request: IncomingMessage, response: ServerResponse) => unknown

let folder: string
let controlSocket: string
let worker: Server
let handle: Handler
const asked: string[] = []
const never = new AbortController().signal
const volume = { name: 'data', uid: 'vol-1', nodeUid: 'nod-1' }
const place = { nodeUid: 'nod-1', volumeUid: 'vol-1' }
const archivePath = '/nodes/nod-1/volumes/vol-1/archive'
const patient = { timeout: 20_000 }

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'berth-va-'))
  controlSocket = join(folder, 'c')
  asked.length = 0
  worker = createServer((request, response) => {
    asked.push(`${request.method} ${request.url}`)
    request.on('error', () => {})
    handle(request, response)
  })
  worker.listen(controlSocket)
  await once(worker, 'listening')
})
afterEach(async () => {
  worker.closeAllConnections()
  worker.close()
  await rm(folder, { recursive: true })
})

const streamOf = (...chunks: Buffer[]) => Readable.toWeb(Readable.from(chunks))

/** Bytes without end; `taken` tells how many were asked for. */
function endless(): Readable & { taken: number } {
  const source = Object.assign(
    new Readable({
      read() {
        source.taken += 65_536
        source.push(Buffer.alloc(65_536))
      },
    }),
    { taken: 0 },
  )
  return source
}

async function failureOf(call: Promise<unknown>): Promise<unknown> {
  return await call.then(
    () => undefined,
    (error: unknown) => error,
  )
}

function refuse(response: ServerResponse, status: number, code: string): void {
  const body = JSON.stringify({ code, message: 'because' })
  response.writeHead(status, { 'content-length': body.length })
  response.write(body)
}

/** Resolves with the number of bytes once they have stopped moving. */
async function settledCount(count: () => number): Promise<number> {
  let last = -1
  await vi.waitFor(
    () => {
      const now = count()
      const settled = now > 0 && now === last
      last = now
      expect(settled).toBe(true)
    },
    { timeout: 20_000, interval: 200 },
  )
  return last
}

describe('the content of a volume', () => {
  test('comes as the worker gives it', async () => {
    handle = (_request, response) => response.end('a tar')
    const tar = await backUpVolume({ controlSocket }, volume, never)
    expect((await buffer(tar)).toString()).toBe('a tar')
    expect(asked).toEqual([`GET ${archivePath}`])
  })

  test('goes as the client sends it', async () => {
    let received: Buffer | undefined
    handle = async (request, response) => {
      received = await buffer(request)
      response.writeHead(204).end()
    }
    const chunks = [Buffer.from('a '), Buffer.from('tar')]
    await restoreVolume({ controlSocket }, volume, streamOf(...chunks), never)
    expect(received?.toString()).toBe('a tar')
    expect(asked).toEqual([`PUT ${archivePath}`])
  })

  test('is measured', async () => {
    handle = (_request, response) => response.end('{"bytes":4096}')
    expect(await measureVolume({ controlSocket }, volume, never)).toBe(4096)
    expect(asked).toEqual(['GET /nodes/nod-1/volumes/vol-1/size'])
  })

  test('is not asked for while the volume is on no node', async () => {
    const unplaced = { ...volume, nodeUid: null }
    expect(await failureOf(backUpVolume({ controlSocket }, unplaced, never))).toMatchObject({
      code: 'conflict',
    })
    expect(asked).toEqual([])
  })
})

describe('a slow', () => {
  test('reader holds the worker back', async () => {
    const source = endless()
    handle = (_request, response) => source.pipe(response)
    const left = new AbortController()
    const tar = await readVolumeArchive(controlSocket, place, { signal: left.signal })
    tar.on('error', () => {})
    expect(await settledCount(() => source.taken)).toBeLessThan(4 * 1024 ** 2)
    left.abort()
  })

  test('worker holds the sender back', async () => {
    handle = () => {}
    const source = endless()
    const left = new AbortController()
    const failed = failureOf(writeVolumeArchive(controlSocket, place, source, { signal: left.signal }))
    expect(await settledCount(() => source.taken)).toBeLessThan(4 * 1024 ** 2)
    left.abort()
    expect(await failed).toBeInstanceOf(Error)
  })
})

describe('who leaves', () => {
  test('while reading ends it at the worker', async () => {
    const closed = vi.fn()
    handle = (_request, response) => endless().pipe(response.once('close', closed))
    const tar = await backUpVolume({ controlSocket }, volume, never)
    await tar.cancel()
    await vi.waitFor(() => expect(closed).toHaveBeenCalled(), patient)
  })

  test('while writing ends it at the worker, and is not taken for having sent all', async () => {
    const aborted = vi.fn()
    handle = (request) => request.once('aborted', aborted).resume()
    const tar = endless()
    const failed = failureOf(writeVolumeArchive(controlSocket, place, tar, { signal: never }))
    await vi.waitFor(() => expect(tar.taken).toBeGreaterThan(0), patient)
    tar.destroy()
    expect(await failed).toMatchObject({ code: 'request-incomplete' })
    await vi.waitFor(() => expect(aborted).toHaveBeenCalled(), patient)
  })

  test('of a worker breaks the tar, which does not end as if it were whole', async () => {
    handle = (_request, response) => response.write('half', () => response.destroy())
    const tar = await backUpVolume({ controlSocket }, volume, never)
    expect(await failureOf(buffer(tar))).toBeInstanceOf(Error)
  })
})

describe('without a byte in time', () => {
  const options = { signal: never, stallMs: 100 }

  test('reading ends', async () => {
    handle = (_request, response) => response.write('half')
    const tar = await readVolumeArchive(controlSocket, place, options)
    expect(await failureOf(buffer(tar))).toBeInstanceOf(Error)
  })

  test('writing ends', async () => {
    handle = () => {}
    const tar = endless()
    expect(await failureOf(writeVolumeArchive(controlSocket, place, tar, options))).toMatchObject({
      code: 'worker-unavailable',
    })
  })
})

describe('a refusal', () => {
  test.each([
    [404, 'volume-gone', 'not-found'],
    [422, 'archive-invalid', 'malformed-request'],
    [503, 'node-unavailable', 'node-unavailable'],
    [507, 'no-space', 'no-space'],
    [500, 'something-new', 'worker-unavailable'],
  ])('with %i %s is told as %s, also in the middle of an archive', async (status, code, told) => {
    handle = (_request, response) => refuse(response, status, code)
    const calls = [
      backUpVolume({ controlSocket }, volume, never),
      measureVolume({ controlSocket }, volume, never),
      writeVolumeArchive(controlSocket, place, endless(), { signal: never }),
    ]
    for (const call of calls) expect(await failureOf(call)).toMatchObject({ code: told })
  })

  test('leaves the archive open, so that its sender can be answered', async () => {
    handle = (_request, response) => refuse(response, 422, 'archive-invalid')
    const tar = endless()
    expect(await failureOf(writeVolumeArchive(controlSocket, place, tar, { signal: never }))).toMatchObject({
      message: 'The archive could not be unpacked: because.',
    })
    expect(tar.destroyed).toBe(false)
  })

  test('is what no worker is', async () => {
    const nobody = { controlSocket: join(folder, 'nobody') }
    expect(await failureOf(backUpVolume(nobody, volume, never))).toMatchObject({
      code: 'worker-unavailable',
      headers: { 'retry-after': '2' },
    })
  })
})
