import type { LogLine, LogQuery } from '@berth/contracts'
import { desired, type Database } from '@berth/db'
import { ApiError, notFound } from '../api-error.ts'
import type { ApiContext } from '../context.ts'
import { readReplicaLogs, requireWorker } from '../worker-client/replica-logs.ts'
import { followReplicas, type LogStart } from './follow-replicas.ts'
import { lastLines, mergeByTime } from './merge-lines.ts'

const maxReplicas = 500

/**
 * The output of a service's replicas, or of one of them. Throws `ApiError` not-found, invalid-query or
 * worker-unavailable before the first line.
 */
export async function openServiceLogs(
  context: ApiContext,
  db: Database,
  projectUid: string,
  service: string,
  query: LogQuery,
): Promise<(signal: AbortSignal) => AsyncGenerator<LogLine>> {
  const found = await desired.findService(db, projectUid, service)
  if (found === undefined) throw notFound('service', service)
  const { uid } = found.service
  const wanted = await replicasOf(db, uid, query)
  if (query.replica !== undefined && wanted.length === 0) throw notFound('replica', query.replica)
  const from = {
    ...(query.since === undefined ? {} : { sinceMs: parseSince(query.since, Date.now()) }),
    ...(query.tail === undefined ? {} : { tail: query.tail }),
  }
  const previous = query.previous === true
  // What was printed before the last start is over.
  const follow = query.follow === true && !previous
  if (wanted.length > 0) await requireWorker(context.controlSocket)
  return (signal) => {
    const read = (replica: string, start: LogStart) =>
      replicaLines(context.controlSocket, replica, { ...start, follow, previous }, signal)
    if (follow) return followReplicas({ replicas, read, from, signal })
    const merged = mergeByTime(wanted.map((replica) => read(replica, from)))
    return query.tail === undefined ? merged : lastLines(merged, query.tail)
  }

  async function replicas(): Promise<string[] | null> {
    const now = await desired.findService(db, projectUid, service)
    if (now?.service.uid !== uid) return null
    const ids = await replicasOf(db, uid, query)
    return query.replica !== undefined && ids.length === 0 ? null : ids
  }
}

async function replicasOf(db: Database, serviceUid: string, query: LogQuery): Promise<string[]> {
  const rows = await desired.listServiceReplicas(db, serviceUid, { limit: maxReplicas })
  const ids = rows.map(({ replica }) => replica.id)
  return query.replica === undefined ? ids : ids.filter((id) => id === query.replica)
}

async function* replicaLines(
  socketPath: string,
  replica: string,
  query: Parameters<typeof readReplicaLogs>[2],
  signal: AbortSignal,
): AsyncGenerator<LogLine> {
  for await (const line of readReplicaLogs(socketPath, replica, query, signal)) yield { ...line, replica }
}

const units: Record<string, number> = { s: 1_000, m: 60_000, h: 3_600_000, d: 86_400_000 }

/** Milliseconds since 1970 for "15m" ago or an RFC 3339 time. Throws `ApiError` invalid-query. */
export function parseSince(text: string, now: number): number {
  const ago = /^([0-9]{1,9})([smhd])$/.exec(text)
  const unit = units[ago?.[2] ?? '']
  if (ago !== null && unit !== undefined) return Math.max(now - Number(ago[1]) * unit, 0)
  const at = /^\d{4}-\d\d-\d\dT/.test(text) ? Date.parse(text) : Number.NaN
  if (Number.isFinite(at)) return Math.max(at, 0)
  throw new ApiError('invalid-query', 'since: must be an RFC 3339 time or an age such as 30s, 15m, 2h, 1d.', {
    errors: [{ path: 'since', message: 'must be an RFC 3339 time or an age such as 30s, 15m, 2h, 1d' }],
  })
}
