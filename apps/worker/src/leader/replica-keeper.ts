import type { Environment, NodeUid, ReplicaId, RevisionUid, RouteVersion } from '@berth/contracts'
import {
  advanceDeployment,
  markReplicaDraining,
  markReplicaFailed,
  markReplicaReady,
  removeReplica,
  reserveWake,
  setReplicaRung,
  writeReadiness,
} from '@berth/db'
import type { Logger } from 'pino'
import {
  freezeReplica,
  holdReplica,
  mountsVolumes,
  parkReplica,
  startReplica,
  stopReplica,
  wakeReplica,
  type Failure,
  type PlacedReplica,
  type ReplicaDeps,
  type ReplicaHost,
  type StartPhase,
} from '../replicas/index.ts'
import { drainMs } from './drain-time.ts'
import type { Engines } from './engines.ts'
import { holdParked, type Held } from './hold-parked.ts'
import type { Term } from './leadership.ts'
import type { ReplicaKeeper, RoutePublisher } from './ports.ts'
import { createOperations, type Signals } from './replica-operations.ts'
import { rowLimit } from './replica-limit.ts'
import type { RowWriter } from './row-writer.ts'
import { createStartTimes } from './start-times.ts'
import { startableReplica } from './startable-replica.ts'
import type { Picture } from './world.ts'
import type { ReplicaView } from './world-model.ts'

/*
 * One thing at a time per replica:
 *
 * start   a `starting` row becomes `ready` and routed, or `failed`; `retire` calls it off
 * wake    frozen or parked becomes running; `retire` calls it off
 * step    withdrawn from the routes, then paused or stopped; `wake` calls it off while routers still let go, and
 *         hurries an app that is being stopped
 * hold    a parked one gets a container whose app has only to be let go; anything else calls it off
 * halt    an app that hangs is withdrawn and stopped, to be started again; `retire` comes after it
 * retire  withdrawn, drained, stopped, removed, row gone
 *
 * A replica whose node is lost fails at once, whatever is being done to it: what comes to an end afterwards looks at
 * the state first. The picture and the routes change at once, the row right behind.
 */

type Procedures = {
  start: typeof startReplica
  wake: typeof wakeReplica
  freeze: typeof freezeReplica
  park: typeof parkReplica
  hold: typeof holdReplica
  stop: typeof stopReplica
}

const realProcedures: Procedures = {
  start: startReplica,
  wake: wakeReplica,
  freeze: freezeReplica,
  park: parkReplica,
  hold: holdReplica,
  stop: stopReplica,
}

export type KeeperOptions = {
  term: Term
  picture: Picture
  publisher: Pick<RoutePublisher, 'publish' | 'withdrawn'>
  writer: RowWriter
  engines: Pick<Engines, 'host'>
  /** Under the term's fence. */
  deps: ReplicaDeps
  /** Null when the revision is gone; rejects while the database is away. */
  environmentOf(revision: RevisionUid): Promise<Environment | null>
  /** A start or wake has failed, or a replica has become ready (null). */
  onOutcome(replica: ReplicaView, failure: Failure | null): void
  log: Logger
  procedures?: Procedures
  now?: () => number
}

export type Keeper = ReplicaKeeper & {
  /** Whether it is being woken, and nobody has called that off: it counts as starting. */
  waking(id: ReplicaId): boolean
  /** Whether it is on its way down: a wake calls that off or waits for it. */
  steppingDown(id: ReplicaId): boolean
  /**
   * Ended or lost without us: out of the routes at once, `failed` with its reason, containers removed. An app that still
   * runs may end `gently`, with a grace.
   */
  fail(id: ReplicaId, failure: Failure, how?: { gently: boolean }): void
  /** For a `starting` row whose app hangs: withdrawal, SIGTERM, grace, SIGKILL. Its sandbox stays for the next start. */
  halt(id: ReplicaId): void
  hold(id: ReplicaId): Promise<Held>
  /** Whether its app is being held: a wake calls that off or waits for it. */
  holding(id: ReplicaId): boolean
  /** The node is lost: nothing on it is started, woken or stepped down any further. */
  abandon(node: NodeUid): void
  /** Removes what a failed replica has left on its node; the row stays for its reason. */
  clear(id: ReplicaId, how?: { gently: boolean }): Promise<boolean>
  /** Resolves when nothing is being done any more. */
  idle(): Promise<void>
}

/** How long routers may take to let go of a replica that was idle before it stays as it is. */
const withdrawDeadlineMs = 30_000
/** What an app that hangs has in flight seldom ends. */
const hungWithdrawMs = 1_000

/** Nothing keeps it out of the routes. */
const ready = { reason: null, message: null } as const

export function createReplicaKeeper(options: KeeperOptions): Keeper {
  const { term, picture, publisher, writer, engines, log } = options
  const procedures = options.procedures ?? realProcedures
  const now = options.now ?? (() => performance.now())
  const deps = options.deps
  const wakeDeps = { ...deps, fence: term.wakeFence }
  const operations = createOperations(term, log)
  const startTimes = createStartTimes({ picture, writer })

  function route(replica: ReplicaView, change: Partial<ReplicaView>): RouteVersion {
    picture.updateReplica(replica.id, change)
    return publisher.publish([replica.serviceUid])
  }

  function hostOf(replica: ReplicaView): ReplicaHost | null {
    const node = picture.nodes.get(replica.nodeUid)
    return node === undefined || node.reachability === 'down' ? null : engines.host(node)
  }

  /** Into the routes (again), unless its node was lost meanwhile. */
  function serve(replica: ReplicaView, change: Partial<ReplicaView> = {}): void {
    route(replica, { ...change, serving: hostOf(replica) !== null })
  }

  function placed(replica: ReplicaView): PlacedReplica | null {
    const revision = picture.revisions.get(replica.revisionUid)
    if (revision === undefined) return null
    const { id, address, hostPort, containers } = replica
    return { id, address, hostPort, containers, template: revision.template }
  }

  function failNow(replica: ReplicaView, failure: Failure): void {
    log.warn({ replica: replica.id, reason: failure.reason }, 'replica failed')
    route(replica, { state: 'failed', serving: false, failedAt: new Date(), ...failure })
    writer.write(replica.id, 'failed', (db, lease) => markReplicaFailed(db, lease, replica.id, failure))
    options.onOutcome(replica, failure)
  }

  async function start(replica: ReplicaView, signal: AbortSignal): Promise<void> {
    const { id } = replica
    const host = hostOf(replica)
    if (host === null) return
    const startable = await startableReplica(options, replica)
    if (startable === null) return
    if (typeof startable === 'string') return failNow(replica, { reason: 'StartFailed', message: startable })
    let measuredFrom = now()
    let pulled = false
    const outcome = await procedures.start(deps, host, startable, {
      signal,
      onPhase(phase, message) {
        // How long a pull took says nothing about the next start.
        if (phase === 'pulling') pulled = true
        if (phase === 'starting' && pulled) measuredFrom = now()
        tellDeployment(replica, host.name, phase, message)
      },
      takeOver: () => retireOthersWithVolumes(replica),
      onContainers: (containers, hostPort) => picture.updateReplica(id, { containers, hostPort }),
    })
    if (outcome.kind === 'aborted' || term.signal.aborted) return
    const ms = now() - measuredFrom
    const current = picture.replicas.get(id)
    // Retired or lost while it started: whoever did that removes what there is.
    if (current?.state !== 'starting') return
    if (outcome.kind === 'failed') return failNow(current, outcome)
    const { containers, hostPort } = outcome
    const readyAt = new Date()
    serve(current, { state: 'ready', rung: 'running', readyAt, ...ready, containers, hostPort })
    writer.write(id, 'ready', (db, lease) => markReplicaReady(db, lease, id))
    if (replica.restarts === 0) startTimes.note(replica.revisionUid, 'cold', ms)
    options.onOutcome(current, null)
    log.info(
      { replica: id, revision: startable.revision, node: host.name, ms: Math.round(ms) },
      'replica ready',
    )
  }

  /** Stop first: those of the service that may hold the volumes which a new replica is about to take over. */
  function retireOthersWithVolumes({ id, serviceUid }: ReplicaView): void {
    for (const other of picture.replicasOfService(serviceUid)) {
      const template = picture.revisions.get(other.revisionUid)?.template
      if (other.id === id || template === undefined || !mountsVolumes(template)) continue
      if (other.state !== 'starting' && other.state !== 'ready') continue
      log.info({ replica: other.id, for: id }, 'replica gives its volumes up')
      forget(other)
      keeper.retire(other.id)
    }
  }

  function tellDeployment(replica: ReplicaView, node: string, phase: StartPhase, message: string): void {
    const { deploymentId } = replica
    if (deploymentId === null) return
    writer.write(`deployment:${deploymentId}`, 'phase', (db, lease) =>
      advanceDeployment(db, lease, deploymentId, { phase, node, message }),
    )
  }

  async function wakeUp(id: ReplicaId, calledOff: AbortSignal): Promise<'running' | 'failed'> {
    const replica = picture.replicas.get(id)
    if (replica === undefined || replica.state !== 'ready') return 'failed'
    const host = hostOf(replica)
    const known = placed(replica)
    if (host === null || known === null) return 'failed'
    const { rung, held } = replica
    const startedAt = now()
    const place = rung === 'parked' ? reserveAgain(replica) : undefined
    const waking = procedures.wake(
      wakeDeps,
      host,
      { ...known, rung, held },
      {
        environment: () => options.environmentOf(replica.revisionUid).catch(() => null),
        signal: calledOff,
      },
    )
    if (held) picture.updateReplica(id, { held: false })
    // Every router has let go of it before it was frozen, so a request may wait in the kernel's backlog.
    if (rung === 'frozen') route(replica, { serving: true })
    const outcome = await waking.catch((error: unknown) => {
      if (picture.replicas.get(id)?.state === 'ready') route(replica, { serving: false })
      throw error
    })
    const current = picture.replicas.get(id)
    if (term.signal.aborted || current?.state !== 'ready') return 'failed'
    if (outcome.kind === 'running') {
      if (place?.refused) return putBack(current)
      if (place) place.taken = true
      // One that was started has succeeded with its readiness probe; one that was thawed is asked again.
      serve(current, { rung: 'running', ...(rung === 'parked' ? ready : {}) })
      if (rung === 'frozen') writeRunning(id)
      else if (current.reason !== null)
        writer.write(id, 'readiness', (db, lease) => writeReadiness(db, lease, id, null))
      startTimes.note(current.revisionUid, rung, now() - startedAt)
      options.onOutcome(current, null)
      return 'running'
    }
    route(current, { serving: false })
    // On a lost node nobody knows what has become of it.
    if (outcome.kind === 'failed' && !calledOff.aborted) failNow(current, outcome)
    if (outcome.kind === 'cold') forget(current)
    return 'failed'
  }

  /**
   * A parked one holds no memory, so it reserves anew while it starts: the picture said that it fits, and what a pass
   * has promised meanwhile only the rows know. Without the database nothing can be promised to anybody else either, so
   * it runs, and the rows must say so whatever they allow when they can be written.
   */
  function reserveAgain(replica: ReplicaView): { refused: boolean; taken: boolean } {
    const place = { refused: false, taken: false }
    const service = picture.services.get(replica.serviceUid)
    const most = service === undefined ? 0 : rowLimit(picture, service)
    writer.write(replica.id, 'woken', async (db, lease) => {
      const result = await reserveWake(db, lease, replica.id, most)
      if (result.kind === 'reserved') return
      log.warn({ replica: replica.id, because: result.because }, 'woken replica was not reserved for')
      place.refused = true
      if (place.taken) await setReplicaRung(db, lease, replica.id, 'running')
    })
    return place
  }

  /** Somebody else was given its place while it started: it never served. */
  async function putBack(replica: ReplicaView): Promise<'failed'> {
    const host = hostOf(replica)
    if (host !== null) await procedures.park(deps, host, replica)
    return 'failed'
  }

  function writeRunning(id: ReplicaId): void {
    writer.write(id, 'woken', (db, lease) => setReplicaRung(db, lease, id, 'running'))
  }

  /** Its app is gone from the node: not an error, only cold. */
  function forget(replica: ReplicaView): void {
    route(replica, { state: 'draining', serving: false })
    writer.write(replica.id, 'cold', (db, lease) => markReplicaDraining(db, lease, replica.id))
  }

  async function step(
    id: ReplicaId,
    to: 'frozen' | 'parked',
    { calledOff, hurried }: Signals,
  ): Promise<'done' | 'busy'> {
    const replica = picture.replicas.get(id)
    if (replica?.state !== 'ready') return 'done'
    if (hostOf(replica) === null) return 'busy'
    if (replica.rung === 'running' && !(await withdraw(replica, withdrawDeadlineMs, calledOff))) {
      const current = picture.replicas.get(id)
      if (current?.state === 'ready' && !term.signal.aborted) serve(current)
      return 'busy'
    }
    const before = picture.replicas.get(id)
    if (before?.state !== 'ready' || term.signal.aborted) return 'done'
    const host = hostOf(before)
    if (host === null) return 'busy'
    let outcome
    try {
      outcome =
        to === 'frozen'
          ? await procedures.freeze(deps, host, before)
          : await procedures.park(deps, host, before, { hurried })
    } catch (error) {
      // Nothing went out to the engine, so it runs as before.
      const current = picture.replicas.get(id)
      if (current?.state === 'ready' && current.rung === 'running' && !term.signal.aborted) serve(current)
      throw error
    }
    const current = picture.replicas.get(id)
    if (current?.state !== 'ready') return 'done'
    if (outcome.kind === 'failed') {
      // Whether it was paused is not known: not routed until somebody has looked.
      log.warn({ replica: id, to, reason: outcome.reason, why: outcome.message }, 'step down failed')
      return 'busy'
    }
    if (outcome.kind === 'gone') {
      forget(current)
      return 'done'
    }
    picture.updateReplica(id, { rung: to, serving: false, held: false })
    writer.write(id, to, (db, lease) => setReplicaRung(db, lease, id, to))
    log.info({ replica: id, rung: to }, 'replica stepped down')
    return 'done'
  }

  /** Takes it out of the routes; true when every router has let go of it before the deadline. */
  async function withdraw(
    replica: ReplicaView,
    deadlineMs: number,
    calledOff: AbortSignal,
  ): Promise<boolean> {
    const version = route(replica, { serving: false })
    const off = Promise.withResolvers<'off'>()
    const listener = () => off.resolve('off')
    calledOff.addEventListener('abort', listener, { once: true })
    if (calledOff.aborted) listener()
    try {
      return (
        (await Promise.race([publisher.withdrawn(replica.id, version, deadlineMs), off.promise])) ===
        'withdrawn'
      )
    } finally {
      calledOff.removeEventListener('abort', listener)
    }
  }

  function drainTime(replica: ReplicaView): number {
    return drainMs(replica, picture.revisions.get(replica.revisionUid)?.template.timeoutSeconds ?? 0)
  }

  async function retireNow(id: ReplicaId, calledOff: AbortSignal): Promise<void> {
    const replica = picture.replicas.get(id)
    if (replica?.state !== 'draining') return
    await withdraw(replica, drainTime(replica), calledOff)
    const current = picture.replicas.get(id)
    if (term.signal.aborted || current?.state !== 'draining') return
    const host = hostOf(current)
    if (host === null) return
    // An app that does not run needs no time to end.
    await procedures.stop(deps, host, current, current.rung === 'parked' ? { graceSeconds: 0 } : {})
    if (term.signal.aborted) return
    writer.write(id, 'removed', (db, lease) => removeReplica(db, lease, id))
    picture.removeReplica(id)
    publisher.publish([replica.serviceUid])
    log.info({ replica: id, node: host.name }, 'replica removed')
  }

  async function haltNow(id: ReplicaId, calledOff: AbortSignal): Promise<void> {
    const replica = picture.replicas.get(id)
    if (replica?.state !== 'starting') return
    await withdraw(replica, hungWithdrawMs, calledOff)
    const current = picture.replicas.get(id)
    const host = current && hostOf(current)
    if (!host || current.state !== 'starting' || term.signal.aborted) return
    const outcome = await procedures.park(deps, host, current)
    if (outcome.kind === 'failed') log.warn({ replica: id, why: outcome.message }, 'hung app was not stopped')
    else log.info({ replica: id, node: host.name }, 'hung app stopped')
  }

  const keeper: Keeper = {
    bringUp(id) {
      if (operations.of(id)) return
      const replica = picture.replicas.get(id)
      if (replica?.state !== 'starting') return
      void operations.run(id, 'start', ({ calledOff }) => start(replica, calledOff), undefined)
    },

    async wake(id) {
      const operation = operations.of(id)
      if (operation?.kind === 'wake') return operation.done as Promise<'running' | 'failed'>
      if (operation?.kind === 'step' || operation?.kind === 'hold') {
        operation.callOff()
        operation.hurry()
        await operation.done
        return keeper.wake(id)
      }
      const replica = picture.replicas.get(id)
      if (operation !== undefined || replica?.state !== 'ready') return 'failed'
      if (replica.serving) return 'running'
      return operations.run<'running' | 'failed'>(
        id,
        'wake',
        ({ calledOff }) => wakeUp(id, calledOff),
        'failed',
      )
    },

    async stepDown(id, to) {
      if (operations.of(id)) return 'busy'
      const replica = picture.replicas.get(id)
      if (replica?.state !== 'ready') return 'done'
      if (to === 'cold') {
        forget(replica)
        keeper.retire(id)
        return 'done'
      }
      return operations.run<'done' | 'busy'>(id, 'step', (signals) => step(id, to, signals), 'busy')
    },

    hold: (id) => holdParked({ ...options, operations, hostOf, hold: procedures.hold }, id),

    retire(id) {
      const operation = operations.of(id)
      // What is under way is called off as far as it can be, and waited for: the next round comes back.
      if (operation !== undefined && operation.kind !== 'retire') operation.callOff()
      if (operation !== undefined) return
      void operations.run(id, 'retire', ({ calledOff }) => retireNow(id, calledOff), undefined)
    },

    busyWith: (id) => operations.of(id) !== undefined,
    waking(id) {
      const operation = operations.of(id)
      return operation?.kind === 'wake' && !operation.isCalledOff
    },
    steppingDown: (id) => operations.of(id)?.kind === 'step',
    holding: (id) => operations.of(id)?.kind === 'hold',

    fail(id, failure, how) {
      const replica = picture.replicas.get(id)
      if (replica === undefined || replica.state === 'failed') return
      failNow(replica, failure)
      void keeper.clear(id, how)
    },

    halt(id) {
      if (operations.of(id)) return
      void operations.run(id, 'halt', ({ calledOff }) => haltNow(id, calledOff), undefined)
    },

    abandon(node) {
      for (const [id, operation] of operations.all())
        if (operation.kind !== 'retire' && picture.replicas.get(id)?.nodeUid === node) operation.callOff()
    },

    async clear(id, { gently } = { gently: false }) {
      const replica = picture.replicas.get(id)
      if (replica === undefined || operations.of(id)) return false
      const host = hostOf(replica)
      if (host === null) return false
      const work = async ({ calledOff }: Signals) => {
        if (gently) await withdraw(replica, hungWithdrawMs, calledOff)
        await procedures.stop(deps, host, replica, gently ? {} : { graceSeconds: 0 })
        return true
      }
      return operations.run(id, 'retire', work, false)
    },

    idle: () => operations.idle(),
  }
  return keeper
}
