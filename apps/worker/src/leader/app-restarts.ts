import type { ReplicaId } from '@berth/contracts'
import { advanceDeployment, keptEnds, markReplicaRestarting } from '@berth/db'
import { decideRestart, restartBackoffMs, waitLeftMs } from '@berth/scheduler'
import type { Logger } from 'pino'
import type { Failure } from '../replicas/index.ts'
import type { RoutePublisher } from './ports.ts'
import type { Keeper } from './replica-keeper.ts'
import type { RowWriter } from './row-writer.ts'
import type { ReplicaView } from './world-model.ts'
import type { Picture } from './world.ts'

export type AppRestartsOptions = {
  picture: Pick<Picture, 'replicas' | 'updateReplica'>
  keeper: Pick<Keeper, 'fail' | 'halt'>
  publisher: Pick<RoutePublisher, 'publish'>
  writer: Pick<RowWriter, 'write'>
  /** Whether a node other than its own, on which its revision has not failed lately, has place for it. */
  fitsElsewhere(replica: ReplicaView): boolean
  log: Logger
  /** Milliseconds of a monotonic clock. */
  now?: () => number
}

/** What becomes of a ready replica whose app ended or hangs. Its row counts, so that a new leader goes on counting. */
export type AppRestarts = {
  /** The app has ended by itself: it is started again in its sandbox after a back-off, or elsewhere. */
  ended(replica: ReplicaView, why: Failure): void
  /** The app runs and does not answer: the same, after it was stopped. */
  hung(replica: ReplicaView, why: Failure): void
  /** Whether a replica waits for its back-off before its app is started again. */
  resting(replica: ReplicaView): boolean
  forget(isKnown: (id: ReplicaId) => boolean): void
}

export function createAppRestarts(options: AppRestartsOptions): AppRestarts {
  const { picture, keeper, publisher, writer, log } = options
  const now = options.now ?? (() => performance.now())
  const restUntil = new Map<ReplicaId, number>()

  /** False when it is given up here. */
  function restartHere(replica: ReplicaView, why: Failure): boolean {
    const { id, readyAt } = replica
    const healthyMs = readyAt === null ? 0 : Date.now() - readyAt.getTime()
    const decision = decideRestart({ inARow: replica.ends.length, healthyMs }, () =>
      options.fitsElsewhere(replica),
    )
    log.warn({ replica: id, reason: why.reason, ...decision }, 'app ended or hangs')
    if (decision.kind === 'elsewhere') return false
    const { inARow } = decision
    restUntil.set(id, now() + decision.waitMs)
    const endsBefore = inARow === 1 ? [] : replica.ends
    picture.updateReplica(id, {
      state: 'starting',
      rung: 'running',
      serving: false,
      readyAt: null,
      restarts: replica.restarts + 1,
      ends: [...endsBefore, new Date().toISOString()].slice(-keptEnds),
      ...why,
    })
    publisher.publish([replica.serviceUid])
    writer.write(id, 'restarting', (db, lease) => markReplicaRestarting(db, lease, id, { ...why, inARow }))
    tellDeployment(replica, why)
    return true
  }

  /** Until when it rests that an earlier leader has put to rest. */
  function restOf({ ends }: ReplicaView): number {
    const last = ends.at(-1)
    if (last === undefined) return now()
    return now() + waitLeftMs(restartBackoffMs(ends.length, 0), Date.parse(last), Date.now())
  }

  /** Nothing is written for a deployment that is over. */
  function tellDeployment({ deploymentId }: ReplicaView, { reason, message }: Failure): void {
    if (deploymentId === null) return
    writer.write(`deployment:${deploymentId}`, 'restart', (db, lease) =>
      advanceDeployment(db, lease, deploymentId, {
        message: `a replica is restarted (${reason}): ${message}`,
      }),
    )
  }

  return {
    ended(replica, why) {
      if (!restartHere(replica, why)) keeper.fail(replica.id, why)
    },
    hung(replica, why) {
      if (restartHere(replica, why)) keeper.halt(replica.id)
      else keeper.fail(replica.id, why, { gently: true })
    },
    resting(replica) {
      const until = restUntil.get(replica.id) ?? restOf(replica)
      restUntil.set(replica.id, until)
      return now() < until
    },
    forget(isKnown) {
      for (const id of restUntil.keys()) if (!isKnown(id)) restUntil.delete(id)
    },
  }
}
