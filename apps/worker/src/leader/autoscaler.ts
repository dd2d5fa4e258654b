import type { ReplicaId, RevisionUid, ServiceUid } from '@berth/contracts'
import { decideScale, shareMinScale, type ScaleDecision } from '@berth/scheduler'
import type { Logger } from 'pino'
import type { Failure } from '../replicas/index.ts'
import { placeInPicture, resourcesOf } from './place-in-picture.ts'
import type { RoutePublisher, RouterReports } from './ports.ts'
import type { Keeper } from './replica-keeper.ts'
import { isReachable, rowLimit } from './replica-limit.ts'
import type { StartFailures } from './start-failures.ts'
import type { StepDown } from './step-down.ts'
import { createSupply } from './supply.ts'
import { takesRequests, type ReplicaView, type RevisionView, type ServiceView } from './world-model.ts'
import type { Picture } from './world.ts'

export type WantedReplica = {
  serviceUid: ServiceUid
  revisionUid: RevisionUid
  nodeUid: string
  cpuMillis: number
  memoryBytes: number
  maxReplicas: number
}

export type Reservation = { kind: 'reserved'; replica: { id: string } } | { kind: 'refused'; because: string }

export type AutoscalerOptions = {
  picture: Picture
  keeper: Pick<Keeper, 'bringUp' | 'wake' | 'stepDown' | 'busyWith' | 'waking' | 'steppingDown' | 'holding'>
  reports: Pick<RouterReports, 'load' | 'samples' | 'replicaIdleMs'>
  publisher: Pick<RoutePublisher, 'setBlocked'>
  failures: StartFailures
  stepDown: StepDown
  /** Inserts the row of one more replica and puts it into the picture; fails when the database is away. */
  reserve(wanted: WantedReplica): Promise<Reservation>
  hasImage(node: string, digest: string): boolean
  /** Why a revision has no replica although it should, for its owner to read; null when it has. */
  onFailure(revision: RevisionView, failure: Failure | null): void
  /** Why nothing new is placed now (most nodes were lost at once); null normally. */
  held(): string | null
  complete(): boolean
  log: Logger
  /** The clock of the reports. */
  now: () => number
}

export type Autoscaler = {
  /** One round over everything, every 500 ms. */
  tick(): void
  /** Requests wait for the revision: decides at once. */
  demand(revision: RevisionUid): void
}

/** Failures that are not the revision's own. */
const placeReasons = new Set<string>(['Unplaceable', 'NodeLost', 'EngineError'])

/** Where no start of the revision has been measured. */
const unknownStartMs = 1_000

/**
 * Decides on every demand frame and every tick what each routed revision needs, and starts it at once, the cheapest
 * rung first. Rows are reserved one revision at a time; what is being created counts as starting meanwhile.
 */
export function createAutoscaler(options: AutoscalerOptions): Autoscaler {
  const { picture, keeper, reports, publisher, failures, stepDown, log } = options
  const creating = new Map<RevisionUid, number>()
  /** Why no place was found or could be reserved, the last time that one was looked for. */
  const noPlace = new Map<RevisionUid, Failure>()
  const supply = createSupply({ picture, keeper, creating })

  function decide(service: ServiceView, revision: RevisionView, minScale: number): ScaleDecision {
    const { inFlight, queued } = reports.load(revision.uid)
    return decideScale(
      {
        concurrency: revision.template.concurrency,
        minScale,
        maxScale: supply.mayHave(service, revision),
        inFlight,
        queued,
        replicas: supply.counts(revision),
        window: reports.samples(revision.uid),
        averageStartMs: revision.startMs.cold ?? unknownStartMs,
        signalsComplete: options.complete(),
      },
      options.now(),
    )
  }

  function scale(service: ServiceView, revision: RevisionView, minScale: number): ScaleDecision {
    const decision = decide(service, revision, minScale)
    for (const { id } of supply.wakeable(revision, 'frozen').slice(0, decision.unfreeze)) void keeper.wake(id)
    for (const { id } of supply.wakeable(revision, 'parked').slice(0, decision.startParked))
      void keeper.wake(id)
    if (decision.create > 0) create(service, revision, decision.create)
    else if (!creating.has(revision.uid)) noPlace.delete(revision.uid)
    if (decision.unfreeze + decision.startParked + decision.create > 0)
      log.debug({ service: service.name, revision: revision.name, ...decision }, 'scaling up')
    showBlocked(revision)
    return decision
  }

  function create(service: ServiceView, revision: RevisionView, count: number): void {
    if (creating.has(revision.uid) || !failures.mayStart(revision.uid)) return
    const held = options.held()
    if (held !== null) {
      noPlace.set(revision.uid, { reason: 'NodeLost', message: `rescheduling is on hold: ${held}` })
      return
    }
    creating.set(revision.uid, count)
    void createAll(service, revision, count).finally(() => {
      creating.delete(revision.uid)
      showBlocked(revision)
    })
  }

  async function createAll(service: ServiceView, revision: RevisionView, count: number): Promise<void> {
    for (let left = count; left > 0; left -= 1) {
      creating.set(revision.uid, left)
      const placement = placeInPicture(picture, revision, {
        hasImage: (node) => options.hasImage(node, revision.imageDigest),
        reserves: supply.reserves,
      })
      if (placement.kind === 'unplaceable') {
        noPlace.set(revision.uid, { reason: 'Unplaceable', message: placement.summary })
        return
      }
      try {
        const result = await options.reserve({
          serviceUid: service.uid,
          revisionUid: revision.uid,
          nodeUid: placement.nodeId,
          ...resourcesOf(revision),
          maxReplicas: rowLimit(picture, service),
        })
        if (result.kind === 'refused') {
          log.info({ revision: revision.name, because: result.because }, 'reservation refused')
          return
        }
        noPlace.delete(revision.uid)
        keeper.bringUp(result.replica.id as ReplicaId)
        log.info({ revision: revision.name, replica: result.replica.id }, 'replica wanted')
      } catch (error) {
        log.warn({ err: error, revision: revision.name }, 'replica could not be reserved')
        noPlace.set(revision.uid, {
          reason: 'EngineError',
          message: 'no replica can be reserved without the database',
        })
        return
      }
    }
  }

  /** Requests are told only while nobody serves and nobody is on the way: else there is something to wait for. */
  function showBlocked(revision: RevisionView): void {
    const { inFlight, queued } = reports.load(revision.uid)
    const nowhere = inFlight + queued > 0 ? noPlace.get(revision.uid) : undefined
    const why = failures.blocked(revision.uid) ?? nowhere ?? null
    publisher.setBlocked(revision.uid, someoneComes(revision) ? null : why)
  }

  function someoneComes(revision: RevisionView): boolean {
    const { starting, running } = supply.counts(revision)
    return running + starting - (creating.get(revision.uid) ?? 0) > 0
  }

  /**
   * What the revision's owner reads of it. It stays until a replica serves, so that it does not come and go with every
   * try; where place was lacking also until no replica is wanted without a request.
   */
  function showFailure(revision: RevisionView, minScale: number): void {
    if (supply.counts(revision).running > 0) return options.onFailure(revision, null)
    const wanted = minScale > 0 && !someoneComes(revision)
    const failure =
      failures.lasting(revision.uid) ??
      supply.trouble(revision) ??
      (wanted ? noPlace.get(revision.uid) : undefined)
    const settled = minScale === 0 && placeReasons.has(revision.failure?.reason ?? '')
    if (failure !== undefined || settled) options.onFailure(revision, failure ?? null)
  }

  function routedRevisions(service: ServiceView): { revision: RevisionView; minScale: number }[] {
    const shares = shareMinScale(service.minScale, service.traffic)
    return [...picture.revisions.values()]
      .filter(({ uid, serviceUid }) => serviceUid === service.uid && supply.isRouted(service, uid))
      .map((revision) => ({ revision, minScale: shares.get(revision.name) ?? 0 }))
  }

  function tickService(service: ServiceView): void {
    if (options.complete()) keepWithinLimit(service)
    for (const { revision, minScale } of routedRevisions(service)) {
      const decision = scale(service, revision, minScale)
      if (decision.surplus > 0) shrink(service, revision, decision.surplus)
      stepDown.ladder(service, picture.replicasOfRevision(revision.uid), minScale)
      showFailure(revision, minScale)
    }
  }

  /**
   * After `maxScale` was lowered: whatever the ladder of the service has, those beyond it go for good. First what no
   * traffic leads to, then what is on a node that is drained, then what is frozen, then what has been idle for longest.
   */
  function keepWithinLimit(service: ServiceView): void {
    const excess = supply.excess(service)
    if (excess === 0) return
    const worth = (replica: ReplicaView) => {
      if (!supply.isRouted(service, replica.revisionUid)) return 0
      if (supply.isDrained(replica)) return 1
      return replica.rung === 'frozen' ? 2 : 3
    }
    const least = picture
      .replicasOfService(service.uid)
      .filter((replica) => replica.state === 'ready' && replica.rung !== 'parked')
      .filter((replica) => isReachable(picture, replica) && !keeper.busyWith(replica.id))
      .sort((a, b) => worth(a) - worth(b) || reports.replicaIdleMs(b.id) - reports.replicaIdleMs(a.id))
    for (const { id } of least.slice(0, excess)) {
      log.info(
        { service: service.name, replica: id, maxScale: service.maxScale },
        'replica beyond maxScale given up',
      )
      void keeper.stepDown(id, 'cold')
    }
  }

  /** Those on nodes that are drained go first, then those that have been idle for longest. */
  function shrink(service: ServiceView, revision: RevisionView, count: number): void {
    const routed = picture
      .replicasOfRevision(revision.uid)
      .filter((replica) => replica.state === 'ready' && takesRequests(replica))
      .filter(({ id }) => !keeper.busyWith(id))
      .sort(
        (a, b) =>
          Number(supply.isDrained(b)) - Number(supply.isDrained(a)) ||
          reports.replicaIdleMs(b.id) - reports.replicaIdleMs(a.id),
      )
    for (const replica of routed.slice(0, count)) stepDown.surplus(service, replica)
  }

  return {
    tick() {
      for (const service of picture.services.values()) if (!service.deleting) tickService(service)
      stepDown.forget((id) => picture.replicas.has(id))
      failures.forget((uid) => picture.revisions.has(uid))
      for (const uid of noPlace.keys()) if (!picture.revisions.has(uid)) noPlace.delete(uid)
    },
    demand(uid) {
      const revision = picture.revisions.get(uid)
      const service = revision && picture.services.get(revision.serviceUid)
      if (!revision || !service || service.deleting) return
      const routed = routedRevisions(service).find((entry) => entry.revision.uid === uid)
      if (routed) scale(service, revision, routed.minScale)
    },
  }
}
