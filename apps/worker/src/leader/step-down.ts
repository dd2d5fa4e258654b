import type { ReplicaId } from '@berth/contracts'
import { decideRung } from '@berth/scheduler'
import type { Keeper } from './replica-keeper.ts'
import type { RouterReports } from './ports.ts'
import { takesRequests, type ReplicaView, type ServiceView } from './world-model.ts'

export type StepDownOptions = {
  keeper: Pick<Keeper, 'stepDown' | 'busyWith'>
  reports: Pick<RouterReports, 'replicaIdleMs'>
  /** False while a router's report, Redis or Postgres is missing: then nothing is stepped down. */
  complete(): boolean
  now: () => number
}

export type StepDown = {
  /** Takes every replica of one revision that has been idle for long enough one rung down. */
  ladder(service: ServiceView, replicas: readonly ReplicaView[], minScale: number): void
  /** Takes one out of balancing now, to the next rung that the service has. */
  surplus(service: ServiceView, replica: ReplicaView): void
  /** Drops what is remembered of replicas that are gone. */
  forget(isKnown: (id: ReplicaId) => boolean): void
}

/**
 * The idle ladder: routers say how long a running replica has been idle; below running nobody sees it any more, so
 * the time of its last request is remembered here. A new leader, which does not know it, counts from its start.
 */
export function createStepDown(options: StepDownOptions): StepDown {
  const { keeper, reports, now } = options
  const lastRequestAt = new Map<ReplicaId, number>()

  function idleFacts(replica: ReplicaView): { inFlight: number; lastRequestAt: number } {
    // Routers tell of what they have.
    if (replica.rung !== 'running' || !takesRequests(replica)) {
      const known = lastRequestAt.get(replica.id) ?? now()
      lastRequestAt.set(replica.id, known)
      return { inFlight: 0, lastRequestAt: known }
    }
    const idleMs = reports.replicaIdleMs(replica.id)
    lastRequestAt.set(replica.id, now() - idleMs)
    // Nobody has reported it, or a request is in flight: both keep it where it is.
    return { inFlight: idleMs === 0 ? 1 : 0, lastRequestAt: now() - idleMs }
  }

  return {
    ladder(service, replicas, minScale) {
      if (!options.complete()) return
      const candidates = replicas.filter(({ state }) => state === 'ready')
      let running = candidates.filter(isInUse).length
      for (const replica of candidates) {
        if (keeper.busyWith(replica.id)) continue
        if (replica.rung === 'running' && !replica.serving) continue
        const facts = { rung: replica.rung, running, minScale, signalsComplete: true, ...idleFacts(replica) }
        const decision = decideRung(facts, service.idle, now())
        if (decision.kind !== 'step') continue
        if (isInUse(replica)) running -= 1
        void keeper.stepDown(replica.id, decision.to)
      }
    },
    surplus(service, replica) {
      const { freezeAfterSeconds, parkAfterSeconds, coldAfterSeconds } = service.idle
      if (freezeAfterSeconds !== 'never') void keeper.stepDown(replica.id, 'frozen')
      else if (parkAfterSeconds !== 'never') void keeper.stepDown(replica.id, 'parked')
      else if (coldAfterSeconds !== 'never') void keeper.stepDown(replica.id, 'cold')
    },
    forget(isKnown) {
      for (const id of lastRequestAt.keys()) if (!isKnown(id)) lastRequestAt.delete(id)
    },
  }
}

function isInUse(replica: ReplicaView): boolean {
  return replica.rung === 'running' && takesRequests(replica)
}
