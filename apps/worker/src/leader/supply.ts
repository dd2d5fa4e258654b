import type { RevisionUid } from '@berth/contracts'
import { mountsVolumes, type Failure } from '../replicas/index.ts'
import { fittingAgain } from './place-in-picture.ts'
import type { Keeper } from './replica-keeper.ts'
import { isReachable, replicaLimit, takingOver } from './replica-limit.ts'
import { takesRequests, type ReplicaView, type RevisionView, type ServiceView } from './world-model.ts'
import type { Picture } from './world.ts'

export type SupplyOptions = {
  picture: Picture
  keeper: Pick<Keeper, 'busyWith' | 'waking' | 'steppingDown' | 'holding'>
  /** Replicas of routed revisions that are being reserved: they have no row yet and count as starting. */
  creating: ReadonlyMap<RevisionUid, number>
}

/** What a revision has, what it could have again, and how much it may have; all of it as the leader knows it now. */
export type Supply = {
  counts(revision: RevisionView): { starting: number; running: number; frozen: number; parked: number }
  /** Those that can be brought back from this rung, all of them together. */
  wakeable(revision: RevisionView, rung: 'frozen' | 'parked'): ReplicaView[]
  /** How many starting, running and frozen replicas the revision may have beside those of its service's others. */
  mayHave(service: ServiceView, revision: RevisionView): number
  /** By how many the service has more than it may; 0 normally. */
  excess(service: ServiceView): number
  /** Whether requests may reach the revision by the service's traffic or by a tag. */
  isRouted(service: ServiceView, revision: RevisionUid): boolean
  /** `reservesPlace`, by the leader's keeper. */
  reserves: (replica: ReplicaView) => boolean
  isDrained(replica: ReplicaView): boolean
  /** Why a replica of the revision that is there does not serve: it is not ready, or was restarted again and again. */
  trouble(revision: RevisionView): Failure | undefined
}

/** An app that ended so often is no trouble of a moment: before that a rollout would be given up for one crash. */
const lastingRestarts = 3

/** Whether the replica holds memory and cores on its node; a parked one does from the moment it is woken. */
export function reservesPlace(keeper: Pick<Keeper, 'waking'>, { id, state, rung }: ReplicaView): boolean {
  return state !== 'failed' && (rung !== 'parked' || keeper.waking(id))
}

export function createSupply({ picture, keeper, creating }: SupplyOptions): Supply {
  const holdsPlace = ({ id, rung }: ReplicaView) => rung !== 'parked' || keeper.waking(id)
  const reserves = (replica: ReplicaView) => reservesPlace(keeper, replica)

  function counted(service: ServiceView): ReplicaView[] {
    return picture
      .replicasOfService(service.uid)
      .filter(({ state }) => state === 'starting' || state === 'ready')
      .filter((replica) => isReachable(picture, replica) && holdsPlace(replica))
  }

  /** Replicas of the service's other revisions that have no row yet. */
  function beingReserved(service: ServiceView, except: RevisionUid): number {
    return [...creating]
      .filter(([uid]) => uid !== except && picture.revisions.get(uid)?.serviceUid === service.uid)
      .reduce((sum, [, count]) => sum + count, 0)
  }

  function isRouted({ traffic }: ServiceView, uid: RevisionUid): boolean {
    const name = picture.revisions.get(uid)?.name
    return traffic.some(({ revision, percent, tag }) => revision === name && (percent > 0 || tag !== null))
  }

  /** Only one replica at a time may have the volumes of a service. */
  function holdsVolumes({ revisionUid }: ReplicaView): boolean {
    const template = picture.revisions.get(revisionUid)?.template
    return template !== undefined && mountsVolumes(template)
  }

  function wakeable(revision: RevisionView, rung: 'frozen' | 'parked'): ReplicaView[] {
    const idle = picture
      .replicasOfRevision(revision.uid)
      .filter((replica) => replica.state === 'ready' && isReachable(picture, replica))
      .filter((replica) => (keeper.steppingDown(replica.id) ? 'frozen' : replica.rung) === rung)
      .filter(({ id }) => keeper.steppingDown(id) || keeper.holding(id) || !keeper.busyWith(id))
    return rung === 'frozen' ? idle : fittingAgain(picture, idle, reserves)
  }

  return {
    counts(revision) {
      const own = picture.replicasOfRevision(revision.uid)
      const up = own.filter(({ id, state, serving }) => state === 'ready' && serving && !keeper.waking(id))
      const running = up.filter(takesRequests)
      const starting = own.filter(({ id, state }) => state === 'starting' || keeper.waking(id))
      return {
        // What is up and not ready to be asked may be so again soon, as what starts.
        starting: starting.length + up.length - running.length + (creating.get(revision.uid) ?? 0),
        running: running.length,
        frozen: wakeable(revision, 'frozen').length,
        parked: wakeable(revision, 'parked').length,
      }
    },
    wakeable,
    mayHave(service, revision) {
      const others = counted(service).filter(({ revisionUid }) => revisionUid !== revision.uid)
      if (mountsVolumes(revision.template) && others.some(holdsVolumes)) return 0
      const routed = others.filter(({ revisionUid }) => isRouted(service, revisionUid))
      const reserved = beingReserved(service, revision.uid)
      // What a deployment brings up may use the surge: what serves need not make room for it.
      const serving = service.maxScale + takingOver(picture, service) - routed.length
      // While traffic moves from one revision to another, neither keeps the other one from serving its share.
      const least = picture.deploying(service.uid) ? 1 : 0
      const room = Math.min(Math.max(least, serving), replicaLimit(picture, service) - others.length)
      return Math.max(0, room - reserved)
    },
    excess: (service) => Math.max(0, counted(service).length - replicaLimit(picture, service)),
    isRouted,
    reserves,
    trouble(revision) {
      for (const { state, restarts, reason, message } of picture.replicasOfRevision(revision.uid)) {
        const lasts = state === 'ready' || (state === 'starting' && restarts >= lastingRestarts)
        if (reason !== null && lasts) return { reason, message: message ?? '' }
      }
      return undefined
    },
    isDrained: ({ nodeUid }) => picture.nodes.get(nodeUid)?.scheduling === 'draining',
  }
}
