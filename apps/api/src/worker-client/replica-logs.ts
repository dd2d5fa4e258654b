import { replicaLogLine, type ReplicaLogLine } from '@berth/contracts'
import { request, type IncomingMessage } from 'node:http'
import { createConnection } from 'node:net'
import { createInterface } from 'node:readline'
import { ApiError } from '../api-error.ts'

/*
 * Output of replicas comes from the worker, which alone talks to engines: lines of JSON over its control socket.
 */

const connectTimeoutMs = 1_000

/** `sinceMs` in milliseconds since 1970. */
export type ReplicaLogQuery = { follow: boolean; sinceMs?: number; tail?: number; previous: boolean }

/** Throws `ApiError` worker-unavailable unless a worker listens on the socket. */
export async function requireWorker(socketPath: string): Promise<void> {
  const socket = createConnection(socketPath)
  try {
    await new Promise<void>((resolve, reject) => {
      socket.once('connect', resolve)
      socket.once('error', reject)
      socket.setTimeout(connectTimeoutMs, () => reject(new Error('the worker does not answer')))
    })
  } catch (error) {
    throw new ApiError('worker-unavailable', 'No worker answers for logs just now.', {
      headers: { 'retry-after': '2' },
      cause: error,
    })
  } finally {
    socket.destroy()
  }
}

/**
 * The lines of one replica in the order of time; none when it has no container or its engine does not answer. Ends
 * when the log ends, or with `follow` when the container or `signal` does.
 */
export async function* readReplicaLogs(
  socketPath: string,
  replica: string,
  query: ReplicaLogQuery,
  signal: AbortSignal,
): AsyncGenerator<ReplicaLogLine> {
  const response = await open(socketPath, `/replicas/${replica}/logs?${searchOf(query)}`, signal)
  if (response === undefined) return
  if (response.statusCode !== 200) {
    response.resume()
    return
  }
  try {
    for await (const text of createInterface({ input: response, crlfDelay: Infinity })) {
      const line = replicaLogLine.safeParse(parseLine(text))
      if (line.success) yield line.data
    }
  } catch (error) {
    if (!signal.aborted && !isCut(error)) throw error
  } finally {
    response.destroy()
  }
}

function open(socketPath: string, path: string, signal: AbortSignal): Promise<IncomingMessage | undefined> {
  return new Promise((resolve) => {
    const outgoing = request({ socketPath, path, agent: false, signal })
    outgoing.once('response', resolve)
    outgoing.on('error', () => resolve(undefined))
    outgoing.end()
  })
}

function searchOf(query: ReplicaLogQuery): string {
  const search = new URLSearchParams({ follow: String(query.follow) })
  if (query.sinceMs !== undefined) search.set('since', String(query.sinceMs))
  if (query.tail !== undefined) search.set('tail', String(query.tail))
  if (query.previous) search.set('previous', 'true')
  return search.toString()
}

function parseLine(text: string): unknown {
  try {
    return JSON.parse(text) as unknown
  } catch {
    return undefined
  }
}

/** The worker went away in the middle: what came so far stands. */
function isCut(error: unknown): boolean {
  return error instanceof Error && 'code' in error && error.code === 'ECONNRESET'
}
