import type { NodeUid, ReplicaId, RevisionUid } from '@berth/contracts'
import { pino } from 'pino'
import type { Failure } from '../../replicas/index.ts'
import { createAutoscaler, type Reservation, type WantedReplica } from '../autoscaler.ts'
import type { Blocked, RevisionLoad } from '../ports.ts'
import { createStartFailures } from '../start-failures.ts'
import { createStepDown } from '../step-down.ts'
import { createPicture } from '../world.ts'
import { aNode, aReplica, type PictureParts } from './picture.ts'

/**
 * An autoscaler over a picture in memory. What it asks of the keeper is noted and begun, and comes to no end; what it
 * reserves becomes a starting replica unless `database.away`.
 */
export function scaleBench(parts: PictureParts & { deploying?: boolean }) {
  const picture = createPicture({ touchedSince: () => false })
  picture.merge(
    {
      services: (parts.services ?? []).map((service) => ({
        ...service,
        deploying: parts.deploying ?? false,
      })),
      revisions: parts.revisions ?? [],
      replicas: (parts.replicas ?? []).map(({ serving: _serving, ...row }) => ({ ...row, failedAt: null })),
      nodes: parts.nodes ?? [aNode()],
    },
    { number: 1, moment: 0 },
  )
  for (const { id, serving } of parts.replicas ?? []) picture.updateReplica(id, { serving })

  const clock = { ms: 100_000 }
  const now = () => clock.ms
  const signals = { complete: true, held: null as string | null }
  const database = { away: false, holds: undefined as Promise<void> | undefined }
  const loads = new Map<string, Pick<RevisionLoad, 'inFlight' | 'queued'>>()
  const idleMs = new Map<string, number>()
  const woken: string[] = []
  const started: string[] = []
  const steps: [id: string, to: string][] = []
  const wanted: WantedReplica[] = []
  const blocked = new Map<string, Blocked | null>()
  const told: [revision: string, failure: Failure | null][] = []
  const failures = createStartFailures(now)
  const waking = new Set<string>()
  const busy = new Set<string>()
  const holding = new Set<string>()

  const keeper = {
    wake(id: ReplicaId) {
      woken.push(id)
      waking.add(id)
      return new Promise<'running'>(() => undefined)
    },
    bringUp: (id: ReplicaId) => void started.push(id),
    stepDown(id: ReplicaId, to: 'frozen' | 'parked' | 'cold') {
      steps.push([id, to])
      picture.updateReplica(id, to === 'cold' ? { state: 'draining', serving: false } : { serving: false })
      return Promise.resolve('done' as const)
    },
    busyWith: (id: ReplicaId) => waking.has(id) || holding.has(id) || busy.has(id),
    waking: (id: ReplicaId) => waking.has(id),
    steppingDown: () => false,
    holding: (id: ReplicaId) => holding.has(id),
  }
  const reports = {
    load: (revision: RevisionUid): RevisionLoad => ({
      inFlight: 0,
      queued: 0,
      ...loads.get(revision),
      meanConcurrency60s: 0,
      meanConcurrency6s: 0,
      idleMs: 0,
    }),
    samples: () => [
      { at: clock.ms - 59_000, concurrency: 0 },
      { at: clock.ms, concurrency: 0 },
    ],
    replicaIdleMs: (id: ReplicaId) => idleMs.get(id) ?? 0,
  }

  async function reserve(replica: WantedReplica): Promise<Reservation> {
    await database.holds
    if (database.away) throw new Error('the database is away')
    wanted.push(replica)
    const id = `rep-new-${wanted.length}` as ReplicaId
    const { serviceUid, revisionUid, cpuMillis, memoryBytes } = replica
    const nodeUid = replica.nodeUid as NodeUid
    const { serving: _serving, ...row } = aReplica({
      id,
      serviceUid,
      revisionUid,
      nodeUid,
      state: 'starting',
    })
    picture.addReplica({ ...row, cpuMillis, memoryBytes, failedAt: null })
    return { kind: 'reserved', replica: { id } }
  }

  const autoscaler = createAutoscaler({
    picture,
    keeper,
    reports,
    publisher: { setBlocked: (revision, why) => void blocked.set(revision, why) },
    failures,
    stepDown: createStepDown({ keeper, reports, complete: () => signals.complete, now }),
    onFailure({ uid }, failure) {
      told.push([uid, failure])
      picture.updateRevision(uid, { failure })
    },
    reserve,
    hasImage: () => true,
    held: () => signals.held,
    complete: () => signals.complete,
    log: pino({ level: 'silent' }),
    now,
  })

  return {
    picture,
    clock,
    signals,
    database,
    failures,
    autoscaler,
    woken,
    started,
    steps,
    wanted,
    blocked,
    told,
    idleMs,
    busy,
    holding,
    /** What was reserved, once nothing is under way any more. */
    async reserved(): Promise<readonly WantedReplica[]> {
      await new Promise((resolve) => setImmediate(resolve))
      return wanted
    },
    /** Requests wait for a revision, and it hears of it at once. */
    demand(revision: RevisionUid, queued: number): void {
      loads.set(revision, { inFlight: 0, queued })
      autoscaler.demand(revision)
    },
  }
}
