import { volumeRefusalStatus, type VolumePlace, type VolumeRefusal } from '@berth/contracts'
import { isEngineError } from '@berth/engine'
import type { IncomingMessage, ServerResponse } from 'node:http'
import { pipeline } from 'node:stream/promises'
import type { Logger } from 'pino'
import { isLeaseLost } from '../replicas/index.ts'
import type { VolumeTransfers } from './volume-transfers.ts'

const route = /^\/nodes\/([a-z0-9-]{1,64})\/volumes\/([a-z0-9-]{1,64})\/(archive|size)$/

type Work = (place: VolumePlace, transfers: VolumeTransfers, signal: AbortSignal) => Promise<void>

/**
 * Answers what the contracts of `volume-transfer` describe; false when the request asks for something else.
 * `transfers` is undefined while this worker does not lead.
 */
export function answerVolume(
  request: IncomingMessage,
  response: ServerResponse,
  transfers: VolumeTransfers | undefined,
  log: Logger,
): boolean {
  const [, nodeUid, volumeUid, what] = route.exec(request.url ?? '') ?? []
  const work = works[`${request.method} ${what}`]?.(request, response)
  if (nodeUid === undefined || volumeUid === undefined || work === undefined) return false
  void perform({ nodeUid, volumeUid }, work)
  return true

  async function perform(place: VolumePlace, asked: Work): Promise<void> {
    const left = new AbortController()
    response.once('close', () => left.abort())
    try {
      if (transfers === undefined) throw new NotLeading()
      await asked(place, transfers, left.signal)
    } catch (error) {
      if (left.signal.aborted) return
      log.warn({ err: error, url: request.url, method: request.method }, 'volume transfer failed')
      // What had begun was broken off with the stream that failed.
      if (!response.headersSent) refuse(request, response, refusalOf(error))
    }
  }
}

const works: Record<string, (request: IncomingMessage, response: ServerResponse) => Work> = {
  'GET archive': (_request, response) => async (place, transfers, signal) => {
    const tar = await transfers.read(place, signal)
    response.writeHead(200, { 'content-type': 'application/x-tar' })
    await pipeline(tar, response)
  },
  'PUT archive': (request, response) => async (place, transfers, signal) => {
    await transfers.write(place, request, signal)
    response.writeHead(204).end()
  },
  'GET size': (_request, response) => async (place, transfers, signal) => {
    const bytes = await transfers.measure(place, signal)
    response.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify({ bytes }))
  },
}

class NotLeading extends Error {
  constructor() {
    super('the worker does not lead')
    this.name = 'NotLeading'
  }
}

function refusalOf(error: unknown): VolumeRefusal {
  const message = error instanceof Error ? error.message : 'the engine does not answer'
  if (isEngineError(error, 'NotFound')) return { code: 'volume-gone', message }
  if (isEngineError(error, 'ArchiveInvalid')) return { code: 'archive-invalid', message }
  if (isEngineError(error, 'NoSpace')) return { code: 'no-space', message }
  if (isLeaseLost(error)) return { code: 'node-unavailable', message: 'the leader has just changed' }
  return { code: 'node-unavailable', message }
}

/**
 * Ends the answer only with the request: to close a connection on which a client still writes would break it before
 * the client has read why.
 */
function refuse(request: IncomingMessage, response: ServerResponse, refusal: VolumeRefusal): void {
  const body = JSON.stringify(refusal)
  const length = Buffer.byteLength(body)
  response.writeHead(volumeRefusalStatus[refusal.code], {
    'content-type': 'application/json',
    'content-length': length,
  })
  response.write(body)
  if (request.complete) return void response.end()
  request.once('end', () => response.end())
  request.unpipe()
  request.resume()
}
