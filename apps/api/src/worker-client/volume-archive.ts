import {
  volumeRefusal,
  volumeSizeAnswer,
  volumeTransferPath,
  type ErrorCode,
  type VolumePlace,
  type VolumeRefusalCode,
} from '@berth/contracts'
import { request, type ClientRequest, type IncomingMessage } from 'node:http'
import type { Readable } from 'node:stream'
import { text } from 'node:stream/consumers'
import { ApiError } from '../api-error.ts'

/*
 * What is in volumes travels over the worker's control socket as it comes: who reads slowly slows the node down, and
 * who leaves ends the transfer everywhere. Nothing is kept but the buffers of the streams.
 */

/** Without a byte either way. The worker gives up on the engine as late, so what it says of that still arrives. */
const stallMs = 75_000

export type TransferOptions = {
  signal: AbortSignal
  /** In milliseconds, instead of 75 s. */
  stallMs?: number
}

/**
 * The content of a volume as a tar. Throws `ApiError` not-found when its node has no such volume, node-unavailable or
 * worker-unavailable. The stream ends with an error when the signal aborts, when no byte moves in time, or when the
 * node breaks off: a tar that ended in order is whole.
 */
export async function readVolumeArchive(
  socketPath: string,
  place: VolumePlace,
  options: TransferOptions,
): Promise<Readable> {
  const asked = ask(socketPath, 'GET', volumeTransferPath(place, 'archive'), options)
  asked.end()
  return await accepted(asked)
}

/**
 * Unpacks a tar over the content of a volume; what came before a failure stays. Throws `ApiError` as above, and
 * malformed-request for what is no tar or leads out of the volume, no-space when the node's disk is full, and
 * request-incomplete when `tar` breaks off. `tar` is left open after a refusal, so that its sender can be answered.
 */
export async function writeVolumeArchive(
  socketPath: string,
  place: VolumePlace,
  tar: Readable,
  options: TransferOptions,
): Promise<void> {
  const asked = ask(socketPath, 'PUT', volumeTransferPath(place, 'archive'), options)
  const answered = accepted(asked)
  let broken: unknown
  const breaks = (error: Error) => {
    broken = error
    asked.destroy(error)
  }
  tar.once('error', breaks).once('close', () => {
    if (!tar.readableEnded) breaks(new Error('the archive broke off'))
  })
  tar.pipe(asked)
  try {
    const answer = await answered
    answer.resume()
  } catch (error) {
    if (broken !== undefined)
      throw new ApiError('request-incomplete', 'The archive broke off.', { cause: broken })
    throw error
  } finally {
    tar.unpipe(asked)
    asked.destroy()
  }
}

/** Bytes that the content of a volume takes on the disk of its node. Throws `ApiError` as `readVolumeArchive` does. */
export async function readVolumeSize(
  socketPath: string,
  place: VolumePlace,
  options: TransferOptions,
): Promise<number> {
  const asked = ask(socketPath, 'GET', volumeTransferPath(place, 'size'), options)
  asked.end()
  const answer = await accepted(asked)
  return volumeSizeAnswer.parse(JSON.parse(await text(answer))).bytes
}

function ask(
  socketPath: string,
  method: 'GET' | 'PUT',
  path: string,
  options: TransferOptions,
): ClientRequest {
  const { signal } = options
  const asked = request({ socketPath, method, path, agent: false, signal })
  asked.setTimeout(options.stallMs ?? stallMs, () => asked.destroy(new Error('no byte came in time')))
  return asked
}

/** The answer when it is no refusal. */
async function accepted(asked: ClientRequest): Promise<IncomingMessage> {
  const answer = await new Promise<IncomingMessage>((resolve, reject) => {
    asked.once('response', resolve)
    // Also after the answer, when the worker no longer reads.
    asked.on('error', (error) => reject(workerUnavailable(error)))
  })
  const status = answer.statusCode ?? 0
  if (status < 300) return answer
  throw refusalOf(await text(answer).catch(() => ''))
}

const codes: Record<VolumeRefusalCode, { code: ErrorCode; detail: string }> = {
  'volume-gone': { code: 'not-found', detail: 'The data of the volume is not on its node' },
  'archive-invalid': { code: 'malformed-request', detail: 'The archive could not be unpacked' },
  'node-unavailable': { code: 'node-unavailable', detail: 'The node of the volume cannot do this just now' },
  'no-space': { code: 'no-space', detail: "The disk of the volume's node is full" },
}

function refusalOf(body: string): ApiError {
  const refusal = volumeRefusal.safeParse(parse(body))
  if (!refusal.success) return workerUnavailable(refusal.error)
  const { code, detail } = codes[refusal.data.code]
  const headers = code === 'node-unavailable' ? retrySoon : {}
  return new ApiError(code, `${detail}: ${refusal.data.message}.`, { headers })
}

const retrySoon = { 'retry-after': '2' }

function workerUnavailable(cause: unknown): ApiError {
  return new ApiError('worker-unavailable', 'No worker answers for volumes just now.', {
    headers: retrySoon,
    cause,
  })
}

function parse(body: string): unknown {
  try {
    return JSON.parse(body) as unknown
  } catch {
    return undefined
  }
}
