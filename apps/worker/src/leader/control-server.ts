import { chmod, rm } from 'node:fs/promises'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { LogRequest } from '@berth/engine'
import type { ReplicaId, ReplicaLogLine } from '@berth/contracts'
import type { Logger } from 'pino'
import { appLog, linesBeforeStart, type AppLocation } from './app-log.ts'
import { answerVolume } from './volume-door.ts'
import type { VolumeTransfers } from './volume-transfers.ts'

export type ControlServerOptions = {
  socketPath: string
  /** Undefined when the leader knows no such replica. */
  locate(replica: ReplicaId): AppLocation | undefined
  /** Undefined while this worker does not lead. */
  transfers(): VolumeTransfers | undefined
  log: Logger
}

const route = /^\/replicas\/([a-z0-9-]{1,64})\/logs$/
const maxTail = 10_000

/**
 * What the API asks a worker for, over a unix socket:
 * `GET /replicas/:id/logs?follow&since&tail&previous` answers lines of JSON `{at, stream, line}`; `since` is
 * milliseconds since 1970. 404 when the replica has no container, 502 when its engine does not answer.
 * What is in volumes goes through `answerVolume`.
 */
export async function openControlServer(options: ControlServerOptions): Promise<{ close(): Promise<void> }> {
  const { log } = options
  await rm(options.socketPath, { force: true })
  // An archive takes as long as it takes; standing still is what ends it.
  const server = createServer({ requestTimeout: 0 }, (request, response) => {
    if (answerVolume(request, response, options.transfers(), log)) return
    answer(request, response).catch((error: unknown) => {
      log.warn({ err: error, url: request.url }, 'log request failed')
      if (response.headersSent) response.destroy()
      else refuse(response, 502, error instanceof Error ? error.message : 'the engine does not answer')
    })
  })

  async function answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const url = new URL(request.url ?? '/', 'http://worker')
    const replica = route.exec(url.pathname)?.[1]
    if (request.method !== 'GET' || replica === undefined)
      return refuse(response, 404, 'there is nothing here')
    const location = options.locate(replica as ReplicaId)
    if (!location) return refuse(response, 404, 'the replica has no container')
    const ended = new AbortController()
    response.on('close', () => ended.abort())
    const asked = { ...logRequest(url), signal: ended.signal }
    const lines =
      url.searchParams.get('previous') === 'true'
        ? linesBeforeStart(location, asked)
        : appLog(location, asked)
    try {
      for await (const { at, stream, line } of lines) {
        if (!response.headersSent) response.writeHead(200, { 'content-type': 'application/x-ndjson' })
        const entry: ReplicaLogLine = { at: new Date(at).toISOString(), stream, line }
        if (!response.write(`${JSON.stringify(entry)}\n`)) await drained(response)
        if (ended.signal.aborted) return
      }
    } catch (error) {
      if (!ended.signal.aborted) throw error
    }
    if (!response.headersSent) response.writeHead(200, { 'content-type': 'application/x-ndjson' })
    response.end()
  }

  await new Promise<void>((resolve, reject) => {
    server.once('error', reject)
    server.listen(options.socketPath, resolve)
  })
  await chmod(options.socketPath, 0o600)
  return {
    close() {
      server.closeAllConnections()
      return new Promise((resolve) => {
        server.close(() => resolve())
      })
    },
  }
}

function logRequest(url: URL): LogRequest {
  const since = Number(url.searchParams.get('since') ?? Number.NaN)
  const tail = Number(url.searchParams.get('tail') ?? Number.NaN)
  return {
    follow: url.searchParams.get('follow') === 'true',
    ...(Number.isFinite(since) ? { sinceMs: since } : {}),
    ...(Number.isInteger(tail) && tail >= 0 ? { tail: Math.min(tail, maxTail) } : {}),
  }
}

function refuse(response: ServerResponse, status: number, message: string): void {
  response.writeHead(status, { 'content-type': 'application/json' })
  response.end(JSON.stringify({ message }))
}

function drained(response: ServerResponse): Promise<void> {
  return new Promise((resolve) => {
    response.once('drain', resolve)
    response.once('close', resolve)
  })
}
