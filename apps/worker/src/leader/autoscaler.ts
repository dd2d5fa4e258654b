import type { ReplicaId, RevisionUid } from '@berth/contracts'
import type { ReservationResult } from '@berth/db'
import { decideScale, shareMinScale, type ScaleDecision } from '@berth/scheduler'
import type { Logger } from 'pino'
import { fitsAgain, placeInPicture, resourcesOf } from './place-in-picture.ts'
import type { Blocked, RoutePublisher, RouterReports } from './ports.ts'
import type { Keeper } from './replica-keeper.ts'
import type { StartFailures } from './start-failures.ts'
import type { StepDown } from './step-down.ts'
import type { ReplicaView, RevisionView, ServiceView } from './world-model.ts'
import type { Picture } from './world.ts'

type WantedReplica = {
  serviceUid: string
  revisionUid: string
  nodeUid: string
  cpuMillis: number
  memoryBytes: number
  maxReplicas: number
}

export type AutoscalerOptions = {
  picture: Picture
  keeper: Keeper
  reports: RouterReports
  publisher: Pick<RoutePublisher, 'setBlocked'>
  failures: StartFailures
  stepDown: StepDown
  /** Inserts the row of one more replica and puts it into the picture; fails when the database is away. */
  reserve(wanted: WantedReplica): Promise<ReservationResult>
  hasImage(node: string, digest: string): boolean
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

/** Where no start of the revision has been measured. */
const unknownStartMs = 1_000

/**
 * Decides on every demand frame and every tick what each routed revision needs, and starts it at once, the cheapest
 * rung first. Rows are reserved one revision at a time; what is being created counts as starting meanwhile.
 */
export function createAutoscaler(options: AutoscalerOptions): Autoscaler {
  const { picture, keeper, reports, publisher, failures, stepDown, log } = options
  const creating = new Map<RevisionUid, number>()

  function decide(service: ServiceView, revision: RevisionView, minScale: number): ScaleDecision {
    const counts = countReplicas(revision)
    const { inFlight, queued } = reports.load(revision.uid)
    const others = picture
      .replicasOfService(service.uid)
      .filter(({ revisionUid, nodeUid }) => revisionUid !== revision.uid && isReachable(nodeUid))
      .filter(({ state, rung }) => state === 'starting' || (state === 'ready' && rung !== 'parked')).length
    return decideScale(
      {
        concurrency: revision.template.concurrency,
        minScale,
        maxScale: Math.max(0, service.maxScale + takingOver(service) - others),
        inFlight,
        queued,
        replicas: counts,
        window: reports.samples(revision.uid),
        averageStartMs: revision.startMs.cold ?? unknownStartMs,
        signalsComplete: options.complete(),
      },
      options.now(),
    )
  }

  /** Pairs of a replica on a node that is drained and the one that is to take its place: they count as one. */
  function takingOver(service: ServiceView): number {
    return picture
      .replicasOfService(service.uid)
      .filter(({ state, replaces }) => replaces !== null && (state === 'starting' || state === 'ready'))
      .filter(({ replaces }) => replaces !== null && picture.replicas.get(replaces)?.state === 'ready').length
  }

  function isDrained({ nodeUid }: ReplicaView): boolean {
    return picture.nodes.get(nodeUid)?.scheduling === 'draining'
  }

  function isReachable(node: string): boolean {
    return picture.nodes.get(node)?.reachability === 'ready'
  }

  function wakeable(revision: RevisionView, rung: 'frozen' | 'parked'): ReplicaView[] {
    return picture
      .replicasOfRevision(revision.uid)
      .filter(({ state, nodeUid }) => state === 'ready' && isReachable(nodeUid))
      .filter((replica) => (keeper.steppingDown(replica.id) ? 'frozen' : replica.rung) === rung)
      .filter(({ id }) => keeper.steppingDown(id) || !keeper.busyWith(id))
      .filter((replica) => rung === 'frozen' || fitsAgain(picture, replica))
  }

  function countReplicas(revision: RevisionView) {
    const own = picture.replicasOfRevision(revision.uid)
    const starting = own.filter(({ id, state }) => state === 'starting' || keeper.waking(id)).length
    return {
      starting: starting + (creating.get(revision.uid) ?? 0),
      running: own.filter(({ id, state, serving }) => state === 'ready' && serving && !keeper.waking(id))
        .length,
      frozen: wakeable(revision, 'frozen').length,
      parked: wakeable(revision, 'parked').length,
    }
  }

  function scale(service: ServiceView, revision: RevisionView, minScale: number): ScaleDecision {
    const decision = decide(service, revision, minScale)
    for (const replica of wakeable(revision, 'frozen').slice(0, decision.unfreeze)) wake(replica)
    for (const replica of wakeable(revision, 'parked').slice(0, decision.startParked)) wake(replica)
    if (decision.create > 0) create(service, revision, decision.create)
    if (decision.unfreeze + decision.startParked + decision.create > 0)
      log.debug({ service: service.name, revision: revision.name, ...decision }, 'scaling up')
    showBlocked(revision)
    return decision
  }

  function wake({ id }: ReplicaView): void {
    void keeper.wake(id)
  }

  function create(service: ServiceView, revision: RevisionView, count: number): void {
    if (creating.has(revision.uid) || !failures.mayStart(revision.uid)) return
    const held = options.held()
    if (held !== null)
      return block(revision, { reason: 'NodeLost', message: `rescheduling is on hold: ${held}` })
    creating.set(revision.uid, count)
    void createAll(service, revision, count).finally(() => {
      creating.delete(revision.uid)
      showBlocked(revision)
    })
  }

  async function createAll(service: ServiceView, revision: RevisionView, count: number): Promise<void> {
    for (let left = count; left > 0; left -= 1) {
      creating.set(revision.uid, left)
      const placement = placeInPicture(picture, revision, (node) =>
        options.hasImage(node, revision.imageDigest),
      )
      if (placement.kind === 'unplaceable')
        return block(revision, { reason: 'Unplaceable', message: placement.summary })
      const lost = picture
        .replicasOfService(service.uid)
        .filter(({ state, rung, nodeUid }) => state === 'ready' && rung !== 'parked' && !isReachable(nodeUid))
      try {
        const result = await options.reserve({
          serviceUid: service.uid,
          revisionUid: revision.uid,
          nodeUid: placement.nodeId,
          ...resourcesOf(revision),
          // Those on nodes that are down serve nobody: what replaces them is not more than there may be.
          maxReplicas: service.maxScale + lost.length,
        })
        if (result.kind === 'refused') {
          log.info({ revision: revision.name, because: result.because }, 'reservation refused')
          return
        }
        keeper.bringUp(result.replica.id as ReplicaId)
        log.info({ revision: revision.name, replica: result.replica.id }, 'replica wanted')
      } catch (error) {
        log.warn({ err: error, revision: revision.name }, 'replica could not be reserved')
        return block(revision, {
          reason: 'EngineError',
          message: 'no replica can be reserved without the database',
        })
      }
    }
  }

  /** Only while nobody serves and nobody is on the way: else there is something worth waiting for. */
  function block(revision: RevisionView, blocked: Blocked): void {
    publisher.setBlocked(revision.uid, someoneComes(revision) ? null : blocked)
  }

  function someoneComes(revision: RevisionView): boolean {
    const { starting, running } = countReplicas(revision)
    return running + starting - (creating.get(revision.uid) ?? 0) > 0
  }

  function showBlocked(revision: RevisionView): void {
    const why = failures.blocked(revision.uid)
    if (why !== null) block(revision, why)
    else if (someoneComes(revision) || nobodyWaits(revision)) publisher.setBlocked(revision.uid, null)
  }

  function nobodyWaits(revision: RevisionView): boolean {
    const { inFlight, queued } = reports.load(revision.uid)
    return inFlight + queued === 0
  }

  function routedRevisions(service: ServiceView): { revision: RevisionView; minScale: number }[] {
    const shares = shareMinScale(service.minScale, service.traffic)
    const names = new Set(
      service.traffic
        .filter(({ percent, tag }) => percent > 0 || tag !== null)
        .map(({ revision }) => revision),
    )
    const own = [...picture.revisions.values()].filter(({ serviceUid }) => serviceUid === service.uid)
    return own
      .filter(({ name }) => names.has(name))
      .map((revision) => ({ revision, minScale: shares.get(revision.name) ?? 0 }))
  }

  function tickService(service: ServiceView): void {
    for (const { revision, minScale } of routedRevisions(service)) {
      const decision = scale(service, revision, minScale)
      if (decision.surplus > 0) shrink(service, revision, decision.surplus)
      stepDown.ladder(service, picture.replicasOfRevision(revision.uid), minScale)
    }
  }

  /** Those on nodes that are drained go first, then those that have been idle for longest. */
  function shrink(service: ServiceView, revision: RevisionView, count: number): void {
    const serving = picture
      .replicasOfRevision(revision.uid)
      .filter(({ id, state, serving }) => state === 'ready' && serving && !keeper.busyWith(id))
      .sort(
        (a, b) =>
          Number(isDrained(b)) - Number(isDrained(a)) ||
          reports.replicaIdleMs(b.id) - reports.replicaIdleMs(a.id),
      )
    for (const replica of serving.slice(0, count)) stepDown.surplus(service, replica)
  }

  return {
    tick() {
      for (const service of picture.services.values()) if (!service.deleting) tickService(service)
      stepDown.forget((id) => picture.replicas.has(id))
      failures.forget((uid) => picture.revisions.has(uid))
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
