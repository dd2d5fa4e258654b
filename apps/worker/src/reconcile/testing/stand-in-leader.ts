import type { Reason, ServiceUid } from '@berth/contracts'
import {
  acquireLease,
  leaderLeaseName,
  listenForServiceChanges,
  markReplicaFailed,
  markReplicaReady,
  removeReplica,
  replicasOfService,
  readReconcileSnapshot,
  writeServiceRoutes,
  type Database,
  type LeaseRef,
} from '@berth/db'
import { isDeepStrictEqual } from 'node:util'

type StartOutcome = 'ready' | 'hang' | { reason: Reason; message: string }

export type StandInLeader = {
  /** What becomes of starts from now on; asked once per replica. */
  onStart(decide: (attempt: number) => StartOutcome): void
  /** Whether routes are acknowledged from now on. */
  acknowledge(yes: boolean): void
  /** Every routing that was acknowledged, oldest first: revision uids. */
  readonly acknowledged: string[][]
  /** Draining rows whose revision was still acknowledged for traffic: must stay empty. */
  readonly retiredTooEarly: string[]
  close(): Promise<void>
}

const leaseMs = 600_000

/**
 * What the leader does to rows, without engines and routers: starting rows become ready, draining rows go away, and
 * the traffic of a service's status is acknowledged.
 */
export async function standInLeader(db: Database, databaseUrl: string): Promise<StandInLeader> {
  const lease = await takeLease(db)
  const acknowledged: string[][] = []
  const retiredTooEarly: string[] = []
  const decided = new Set<string>()
  let decide: (attempt: number) => StartOutcome = () => 'ready'
  let acknowledging = true
  let attempts = 0
  let work: Promise<void> = Promise.resolve()

  async function serve(service: ServiceUid): Promise<void> {
    const snapshot = await readReconcileSnapshot(db, service)
    const served = (snapshot?.acknowledged ?? []).map(({ revision }) => String(revision))
    for (const replica of await replicasOfService(db, service)) {
      if (replica.state === 'draining') {
        if (served.includes(replica.revisionUid) && snapshot?.service.deletedAt === null)
          retiredTooEarly.push(replica.id)
        await removeReplica(db, lease, replica.id)
      }
      if (replica.state !== 'starting' || decided.has(replica.id)) continue
      decided.add(replica.id)
      const outcome = decide((attempts += 1))
      if (outcome === 'ready') await markReplicaReady(db, lease, replica.id)
      else if (outcome !== 'hang') await markReplicaFailed(db, lease, replica.id, outcome)
    }
    if (!snapshot || !acknowledging) return
    const targets = snapshot.status.traffic
      .filter(({ percent }) => percent > 0)
      .map(({ revision, percent }) => ({
        revision: String(snapshot.revisions.find(({ name }) => name === revision)?.uid),
        percent,
      }))
    if (isDeepStrictEqual(targets, snapshot.acknowledged ?? [])) return
    acknowledged.push(targets.map(({ revision }) => revision))
    await writeServiceRoutes(db, lease, service, targets)
  }

  const changes = listenForServiceChanges(databaseUrl, {
    onChange: (service) => {
      work = work.then(() => serve(service as ServiceUid)).catch(() => {})
    },
  })
  return {
    onStart: (next) => void (decide = next),
    acknowledge: (yes) => void (acknowledging = yes),
    acknowledged,
    retiredTooEarly,
    async close() {
      await changes.close()
      await work
    },
  }
}

async function takeLease(db: Database): Promise<LeaseRef> {
  const lease = await acquireLease(db, leaderLeaseName, 'stand-in', leaseMs)
  if (!lease) throw new Error('somebody leads already')
  return lease
}
